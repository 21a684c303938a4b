SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_examine_open_transactions_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_examine_open_transactions_v1 (
  INOUT p_findings JSON
)
COMMENT '
Examines whether a transaction that has enqueued stays open: its messages are in the queue by a dirty read, and not
committed. It looks at the first messages of each slot.
Internal: outbox_doctor_v1 calls it.

Parameters
  INOUT p_findings JSON: what was found so far, see outbox_internal_tell_v1; comes back with more

Owns its transactions (READ UNCOMMITTED, READ COMMITTED); changes nothing.

Example
  mysql> SET @findings = JSON_ARRAY();
  mysql> CALL outbox_internal_examine_open_transactions_v1(@findings);
'
SQL SECURITY DEFINER
READS SQL DATA
BEGIN
  DECLARE v_long_seconds INT DEFAULT 10;
  DECLARE v_heads INT DEFAULT 16;
  DECLARE v_old_from DATETIME(6) DEFAULT UTC_TIMESTAMP(6) - INTERVAL v_long_seconds SECOND;
  DECLARE v_seen, v_committed JSON;
  DECLARE v_id BIGINT UNSIGNED;
  DECLARE v_messages, v_seconds INT;
  DECLARE v_topic, v_key TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;

  -- Without autocommit, what was read before has begun a transaction.
  COMMIT AND NO CHAIN NO RELEASE;
  SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED;
  START TRANSACTION;
  SELECT /*+ SET_VAR(sql_big_selects = 1) */ JSON_ARRAYAGG(head.id)
    INTO v_seen
    FROM outbox_slots AS s
    JOIN LATERAL (
      SELECT m.id
        FROM agent_outbox_messages AS m FORCE INDEX (outbox_pending_slot)
       WHERE m.pending_slot = s.slot
         AND m.waits_for = 0
         AND m.wakes_at = TIMESTAMP'2000-01-01 00:00:00'
       ORDER BY m.pending_slot, m.waits_for, m.wakes_at, m.id
       LIMIT v_heads
    ) AS head;
  COMMIT AND NO CHAIN NO RELEASE;
  IF v_seen IS NOT NULL THEN
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    START TRANSACTION;
    SELECT /*+ SET_VAR(sql_big_selects = 1) */ COALESCE(JSON_ARRAYAGG(m.id), JSON_ARRAY())
      INTO v_committed
      FROM JSON_TABLE(v_seen, '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$')) AS seen
      STRAIGHT_JOIN agent_outbox_messages AS m FORCE INDEX (PRIMARY) ON m.id = seen.id;
    COMMIT AND NO CHAIN NO RELEASE;
    -- What is there again by a dirty read was not deleted in between.
    SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED;
    START TRANSACTION;
    SELECT /*+ SET_VAR(sql_big_selects = 1) */ COUNT(*), MIN(m.id), MAX(TIMESTAMPDIFF(SECOND, m.created_at, UTC_TIMESTAMP(6)))
      INTO v_messages, v_id, v_seconds
      FROM JSON_TABLE(v_seen, '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$')) AS seen
      STRAIGHT_JOIN agent_outbox_messages AS m FORCE INDEX (PRIMARY) ON m.id = seen.id
     WHERE m.created_at < v_old_from
       AND NOT EXISTS (
         SELECT 1
           FROM JSON_TABLE(v_committed, '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$')) AS there
          WHERE there.id = seen.id);
    SELECT MAX(topic), MAX(message_key)
      INTO v_topic, v_key
      FROM agent_outbox_messages
     WHERE id = v_id;
    COMMIT AND NO CHAIN NO RELEASE;
  END IF;
  IF v_id IS NULL THEN
    CALL outbox_internal_tell_v1(p_findings, 'ok', 'open transactions', CONCAT('none that has enqueued is open for ', v_long_seconds, ' s'), NULL);
  ELSE
    CALL outbox_internal_tell_v1(p_findings, 'error', 'open transactions',
      CONCAT('one has been open for ', v_seconds, ' s with ', v_messages, ' messages, the first is ', v_id, ' (topic ', v_topic, ', key ', v_key,
        '): later messages of their keys wait for it'),
      'let the application commit; who it is: SELECT * FROM information_schema.innodb_trx ORDER BY trx_started, then KILL trx_mysql_thread_id');
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (937, 'V0937__internal_examine_open_transactions_v1.sql');
