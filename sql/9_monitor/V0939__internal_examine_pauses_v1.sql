SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_examine_pauses_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_examine_pauses_v1 (
  INOUT p_findings JSON
)
COMMENT '
Examines what is paused by operators, and which topics Kafka takes no records for.
Internal: outbox_doctor_v1 calls it.

Parameters
  INOUT p_findings JSON: what was found so far, see outbox_internal_tell_v1; comes back with more

Reads only; transaction: the caller''s.

Example
  mysql> SET @findings = JSON_ARRAY();
  mysql> CALL outbox_internal_examine_pauses_v1(@findings);
'
SQL SECURITY DEFINER
READS SQL DATA
BEGIN
  DECLARE v_done BOOLEAN DEFAULT FALSE;
  DECLARE v_paused INT DEFAULT 0;
  DECLARE v_kind, v_name, v_by, v_reason TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;
  DECLARE v_since DATETIME(6);
  DECLARE v_parked BIGINT UNSIGNED;
  DECLARE v_failures INT;
  DECLARE v_pauses CURSOR FOR
    SELECT /*+ SET_VAR(sql_big_selects = 1) */ p.kind, p.name, p.paused_at, p.paused_by, p.failures, p.reason, parked.messages
      FROM outbox_pauses AS p
      JOIN LATERAL (
        SELECT COUNT(*) AS messages
          FROM outbox_slots AS s
          STRAIGHT_JOIN agent_outbox_messages AS m FORCE INDEX (outbox_pending_slot) ON m.pending_slot = s.slot AND m.waits_for = p.id
      ) AS parked
     WHERE p.resumed_at IS NULL
     ORDER BY p.kind, p.name;
  DECLARE CONTINUE HANDLER FOR NOT FOUND SET v_done = TRUE;

  OPEN v_pauses;
  each_pause: LOOP
    FETCH v_pauses INTO v_kind, v_name, v_since, v_by, v_failures, v_reason, v_parked;
    IF v_done THEN
      LEAVE each_pause;
    END IF;
    IF v_kind = 'trouble' THEN
      CALL outbox_internal_tell_v1(p_findings, 'error', CONCAT('topic ', v_name),
        CONCAT('Kafka takes no records: ', COALESCE(v_reason, ''), ' (', v_failures, ' times in a row)'),
        'see to the topic and the rights of the account on it: its messages wait, and go on by themselves');
    ELSE
      SET v_paused = v_paused + 1;
      CALL outbox_internal_tell_v1(p_findings, 'warning', 'pauses',
        CONCAT(IF(v_kind = 'topic', 'topic ', 'business type '), v_name, ' is paused since ', LEFT(v_since, 19), ' UTC by ', v_by, '; ', v_parked, ' messages are parked'),
        CONCAT('when it may go on: outboxd resume ', IF(v_kind = 'topic', '--topic ', '--biz-type '), QUOTE(v_name)));
    END IF;
  END LOOP;
  CLOSE v_pauses;
  IF v_paused = 0 THEN
    CALL outbox_internal_tell_v1(p_findings, 'ok', 'pauses', 'nothing is paused', NULL);
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (939, 'V0939__internal_examine_pauses_v1.sql');
