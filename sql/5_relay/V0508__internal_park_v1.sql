SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_park_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_park_v1 (
  IN p_heads JSON
)
COMMENT '
Takes messages out of the queue that have to wait for longer than a moment, so that no claim reads them again: those of a
pause come back when it is over, those behind an earlier message of their lane when that is due (outbox_internal_wake_v1) or
final (outbox_internal_wake_lanes_v1). In case that message is gone without either, the first of them looks again when
it would be due, after 32 seconds at most, and the others after ten minutes.
Internal: outbox_internal_examine_v1 calls it.

Parameters
  p_heads JSON: [[id, lane, waits_for], ...], where waits_for is the id of a pause, or 1 for an earlier message of the
    lane; NULL: none

Owns its transaction (READ COMMITTED). What it was told was read at READ UNCOMMITTED: here only what is committed counts. It
keeps the pauses locked until its commit, so that a pause does not end unseen; one that somebody else has locked parks nothing.

Example
  mysql> CALL outbox_internal_park_v1(''[[2, 326707096, 1], [7, 1034567, 3]]'');
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_now DATETIME(6) DEFAULT UTC_TIMESTAMP(6);
  DECLARE v_longest_seconds INT DEFAULT 32;
  DECLARE v_sleep_seconds INT DEFAULT 600;
  DECLARE v_pauses, v_notes JSON;

  SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
  START TRANSACTION;
  SELECT JSON_ARRAYAGG(id) INTO v_pauses FROM outbox_pauses WHERE resumed_at IS NULL FOR SHARE SKIP LOCKED;
  SELECT /*+ SET_VAR(sql_big_selects = 1) */ JSON_ARRAYAGG(JSON_ARRAY(parked.id, parked.parked_for, parked.parked_until))
    INTO v_notes
    FROM (
      SELECT head.id,
             COALESCE(earlier.waits_for, head.waits_for) AS parked_for,
             CASE
               WHEN COALESCE(earlier.waits_for, head.waits_for) > 1 THEN NULL
               WHEN head.place > 1 OR sleeper.id < head.id THEN v_now + INTERVAL v_sleep_seconds SECOND
               ELSE LEAST(GREATEST(earlier.wakes_at, v_now), v_now + INTERVAL v_longest_seconds SECOND)
             END AS parked_until
        FROM (
          SELECT given.id, given.lane, given.waits_for, own.topic, own.message_key,
                 ROW_NUMBER() OVER (PARTITION BY given.waits_for, own.topic, own.message_key ORDER BY given.id) AS place
            FROM JSON_TABLE(COALESCE(p_heads, '[]'), '$[*]' COLUMNS (
                   id BIGINT UNSIGNED PATH '$[0]',
                   lane INT UNSIGNED PATH '$[1]',
                   waits_for BIGINT UNSIGNED PATH '$[2]')) AS given
            STRAIGHT_JOIN agent_outbox_messages AS own FORCE INDEX (PRIMARY) ON own.id = given.id AND own.waits_for = 0
        ) AS head
        -- The first of the lane that waits, and the first that is parked behind it: the one whose turn it is to look again.
        -- The conditions are in the lookup, because they would be a filter on all of the lane otherwise.
        LEFT JOIN LATERAL (
          SELECT m.id, m.waits_for, m.wakes_at
            FROM agent_outbox_messages AS m FORCE INDEX (outbox_open_lane)
           WHERE m.open_lane = IF(head.waits_for = 1, head.lane, NULL)
             AND m.is_waiting = 1
             AND m.topic = head.topic
             AND m.message_key = head.message_key
             AND NOT EXISTS (SELECT 1 FROM outbox_biz_types AS t WHERE t.biz_type = m.biz_type AND t.ordering = 'none')
           ORDER BY m.open_lane, m.is_waiting, m.id
           LIMIT 1
        ) AS earlier ON TRUE
        LEFT JOIN LATERAL (
          SELECT m.id
            FROM agent_outbox_messages AS m FORCE INDEX (outbox_open_lane)
           WHERE m.open_lane = IF(head.place = 1 AND earlier.waits_for = 1, head.lane, NULL)
             AND m.is_waiting = 1
             AND m.topic = head.topic
             AND m.message_key = head.message_key
             AND m.parked_for = 1
             AND m.noted_for <=> m.next_retry_at
           ORDER BY m.open_lane, m.is_waiting, m.id
           LIMIT 1
        ) AS sleeper ON TRUE
       WHERE COALESCE(earlier.waits_for, head.waits_for) MEMBER OF (v_pauses)
          OR earlier.waits_for = 1
       ORDER BY head.id
       LIMIT 100000
    ) AS parked;
  CALL outbox_internal_note_v1(v_notes);
  COMMIT AND NO CHAIN NO RELEASE;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (508, 'V0508__internal_park_v1.sql');
