SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_examine_relays_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_examine_relays_v1 (
  INOUT p_findings JSON
)
COMMENT '
Examines whether relays are alive, own all slots, and get through what is due.
Internal: outbox_doctor_v1 calls it.

Parameters
  INOUT p_findings JSON: what was found so far, see outbox_internal_tell_v1; comes back with more

Reads only; transaction: the caller''s.

Example
  mysql> SET @findings = JSON_ARRAY();
  mysql> CALL outbox_internal_examine_relays_v1(@findings);
'
SQL SECURITY DEFINER
READS SQL DATA
BEGIN
  DECLARE v_late_seconds INT DEFAULT 60;
  DECLARE v_restart_seconds INT DEFAULT 10;
  DECLARE v_relays, v_free INT;
  DECLARE v_oldest BIGINT UNSIGNED;
  DECLARE v_seconds INT;

  SELECT /*+ SET_VAR(sql_big_selects = 1) */ COUNT(*) INTO v_relays FROM outbox_internal_live_relays;
  SELECT /*+ SET_VAR(sql_big_selects = 1) */ COUNT(*)
    INTO v_free
    FROM outbox_slots AS s
   WHERE NOT EXISTS (SELECT 1 FROM outbox_internal_live_relays AS r WHERE r.relay = s.relay);
  SELECT /*+ SET_VAR(sql_big_selects = 1) */ MIN(head.id)
    INTO v_oldest
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
      (SELECT m.id
         FROM agent_outbox_messages AS m FORCE INDEX (outbox_pending_slot)
        WHERE m.pending_slot = s.slot
          AND m.waits_for = 1
          AND m.wakes_at <= UTC_TIMESTAMP(6)
        ORDER BY m.pending_slot, m.waits_for, m.wakes_at, m.id
        LIMIT 1)
    ) AS head;
  SELECT COALESCE(MAX(TIMESTAMPDIFF(SECOND, GREATEST(created_at, COALESCE(next_retry_at, created_at)), UTC_TIMESTAMP(6))), 0)
    INTO v_seconds
    FROM agent_outbox_messages
   WHERE id = v_oldest;
  IF v_relays = 0 AND v_seconds > v_restart_seconds THEN
    CALL outbox_internal_tell_v1(p_findings, 'error', 'relays', CONCAT('nobody relays: message ', v_oldest, ' has waited for ', v_seconds, ' s'),
      'start a daemon on this database (outboxd run), or look into the log of the one that should run');
  ELSEIF v_seconds > v_late_seconds THEN
    CALL outbox_internal_tell_v1(p_findings, 'error', 'relays',
      CONCAT(v_relays, ' are alive, but message ', v_oldest, ' has waited for ', v_seconds, ' s', IF(v_free > 0, CONCAT('; ', v_free, ' slots have no relay'), '')),
      'look into the log of the daemons, and for what other findings name: an open transaction, a topic in trouble, locks');
  ELSE
    CALL outbox_internal_tell_v1(p_findings, 'ok', 'relays', CONCAT(v_relays, ' are alive, ', IF(v_oldest IS NULL, 'nothing is due', CONCAT('the oldest due message has waited for ', v_seconds, ' s'))), NULL);
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (938, 'V0938__internal_examine_relays_v1.sql');
