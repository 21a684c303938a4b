SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_lag_v1;

DELIMITER $$

CREATE PROCEDURE outbox_lag_v1 (
  IN p_most INT
)
COMMENT '
Tells how far relays and consumers are behind, at a cost that does not grow with the table: for sampling every few
seconds. outbox_status_v1 counts exactly; this counts up to a limit.

Parameters
  p_most INT: the highest count of each status; NULL or 0: 100000

Result set, one row
  pending, published, dead      messages; p_most if there are more
  pending_seconds               how long ago the oldest of the pending ones was enqueued that wait for nothing but a relay:
                                not for a retry that is not due, a pause or an earlier one of their key; NULL: there is none
  published_seconds             the same of the oldest published one among those counted; NULL: none is published
  topics_unavailable            topics that Kafka takes no records for at the moment (outbox_topics_unavailable)
  next_due_seconds              seconds until the next pending one is due; negative: overdue by that; NULL: none is pending
  failing                       messages that have failed and wait for their retry (outbox_failing), of the 100 of each slot
                                that come back first
  failing_seconds               how long the one of them has been failing that failed first: since the first of its
                                failures; its topic and key have stood still since then. NULL: none fails
  paused, paused_seconds        topics and business types that operators have paused; how long ago the first was, NULL: none

Errors
  30005 p_most is negative; 30006 called inside a transaction

Called by: relays, consumers, operators, monitoring. Owns its transaction (READ UNCOMMITTED, which saves looking up older
versions of rows that are being changed); changes nothing.

Example
  mysql> CALL outbox_lag_v1(NULL);
  +---------+-----------+------+-----------------+-------------------+------------------+--------------------+---------+-----+
  | pending | published | dead | pending_seconds | published_seconds | next_due_seconds | topics_unavailable | failing | ... |
  +---------+-----------+------+-----------------+-------------------+------------------+--------------------+---------+-----+
  |      17 |         3 |    0 |          0.0500 |            0.0900 |          -0.0500 |                  0 |       0 | ... |
  +---------+-----------+------+-----------------+-------------------+------------------+--------------------+---------+-----+
'
SQL SECURITY DEFINER
READS SQL DATA
BEGIN
  DECLARE v_now DATETIME(6) DEFAULT UTC_TIMESTAMP(6);
  DECLARE v_most INT DEFAULT COALESCE(NULLIF(p_most, 0), 100000);
  DECLARE v_pending, v_published, v_dead INT;
  DECLARE v_first_pending, v_first_published BIGINT UNSIGNED;
  DECLARE v_next_due, v_failing_since DATETIME(6);
  DECLARE v_most_of_slot INT DEFAULT 100;
  DECLARE v_failing INT;

  IF v_most < 0 THEN
    CALL outbox_internal_raise_v1(30005, CONCAT('p_most must not be negative: ', p_most));
  END IF;
  CALL outbox_internal_require_no_transaction_v1('outbox_lag_v1');
  SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED;
  START TRANSACTION;
  -- The indexes are forced: a queue's statistics are wrong within seconds, and a wrong plan reads the whole table.
  SELECT COUNT(*)
    INTO v_pending
    FROM (SELECT 1 FROM agent_outbox_messages FORCE INDEX (idx_outbox_status_next) WHERE status = 'pending' LIMIT v_most) AS counted;
  SELECT COUNT(*), MIN(id)
    INTO v_published, v_first_published
    FROM (SELECT id FROM agent_outbox_messages FORCE INDEX (idx_outbox_status_next) WHERE status = 'published' LIMIT v_most) AS counted;
  SELECT COUNT(*)
    INTO v_dead
    FROM (SELECT 1 FROM agent_outbox_messages FORCE INDEX (idx_outbox_status_next) WHERE status = 'dead' LIMIT v_most) AS counted;
  SELECT MIN(next_retry_at)
    INTO v_next_due
    FROM agent_outbox_messages FORCE INDEX (idx_outbox_status_next)
   WHERE status = 'pending';
  -- The index has each slot's queue by id, and what waits by its time: the oldest is among the heads, or was due first.
  SELECT MIN(head.id)
    INTO v_first_pending
    FROM outbox_slots AS s
    JOIN LATERAL (
      (SELECT m.id
         FROM agent_outbox_messages AS m FORCE INDEX (outbox_pending_slot)
        WHERE m.pending_slot = s.slot
          AND m.waits_for = 0
          AND m.wakes_at = TIMESTAMP'2000-01-01 00:00:00'
        ORDER BY m.pending_slot, m.waits_for, m.wakes_at, m.id
        LIMIT 1)
       UNION ALL
      SELECT first_due.id
        FROM (
          SELECT m.id, m.wakes_at
            FROM agent_outbox_messages AS m FORCE INDEX (outbox_pending_slot)
           WHERE m.pending_slot = s.slot
             AND m.waits_for = 1
           ORDER BY m.pending_slot, m.waits_for, m.wakes_at, m.id
           LIMIT 1
        ) AS first_due
       WHERE first_due.wakes_at <= v_now
    ) AS head;
  SELECT COUNT(*), MIN((
           SELECT MIN(f.at)
             FROM outbox_failures AS f
            WHERE f.message_id = waiting.id
              AND f.failure + waiting.retry_count > (SELECT MAX(l.failure) FROM outbox_failures AS l WHERE l.message_id = waiting.id)))
    INTO v_failing, v_failing_since
    FROM outbox_slots AS s
    JOIN LATERAL (
      SELECT m.id, m.retry_count
        FROM agent_outbox_messages AS m FORCE INDEX (outbox_pending_slot)
       WHERE m.pending_slot = s.slot
         AND m.waits_for = 1
       ORDER BY m.pending_slot, m.waits_for, m.wakes_at, m.id
       LIMIT v_most_of_slot
    ) AS waiting
   WHERE waiting.retry_count > 0;
  SELECT v_pending AS pending,
         v_published AS published,
         v_dead AS dead,
         TIMESTAMPDIFF(MICROSECOND, (SELECT created_at FROM agent_outbox_messages WHERE id = v_first_pending), v_now) / 1e6 AS pending_seconds,
         TIMESTAMPDIFF(MICROSECOND, (SELECT created_at FROM agent_outbox_messages WHERE id = v_first_published), v_now) / 1e6 AS published_seconds,
         TIMESTAMPDIFF(MICROSECOND, v_now, v_next_due) / 1e6 AS next_due_seconds,
         (SELECT COUNT(*) FROM outbox_pauses WHERE kind = 'trouble' AND resumed_at IS NULL) AS topics_unavailable,
         v_failing AS failing,
         TIMESTAMPDIFF(MICROSECOND, v_failing_since, v_now) / 1e6 AS failing_seconds,
         (SELECT COUNT(*) FROM outbox_pauses WHERE kind <> 'trouble' AND resumed_at IS NULL) AS paused,
         (SELECT TIMESTAMPDIFF(MICROSECOND, MIN(paused_at), v_now) / 1e6 FROM outbox_pauses WHERE kind <> 'trouble' AND resumed_at IS NULL) AS paused_seconds;
  COMMIT AND NO CHAIN NO RELEASE;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (903, 'V0903__lag_v1.sql');
