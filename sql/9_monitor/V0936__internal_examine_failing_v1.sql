SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_examine_failing_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_examine_failing_v1 (
  INOUT p_findings JSON
)
COMMENT '
Examines the messages that have failed and wait for their retry, and names the one that has failed most often. What its
error quotes is left out, as in outbox_dead_letters.
Internal: outbox_doctor_v1 calls it.

Parameters
  INOUT p_findings JSON: what was found so far, see outbox_internal_tell_v1; comes back with more

Reads only; transaction: the caller''s.

Example
  mysql> SET @findings = JSON_ARRAY();
  mysql> CALL outbox_internal_examine_failing_v1(@findings);
'
SQL SECURITY DEFINER
READS SQL DATA
BEGIN
  DECLARE v_often INT DEFAULT 3;
  DECLARE v_quote VARCHAR(8) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin DEFAULT CONCAT('[', CHAR(34, 39, 96 USING utf8mb4), ']');
  DECLARE v_most INT DEFAULT 10000;
  DECLARE v_failing INT;
  DECLARE v_id BIGINT UNSIGNED;
  DECLARE v_failures, v_followers INT;
  DECLARE v_topic, v_key, v_biz_type, v_error TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;

  SELECT /*+ SET_VAR(sql_big_selects = 1) */ COUNT(*)
    INTO v_failing
    FROM (
      SELECT m.id
        FROM outbox_slots AS s
        STRAIGHT_JOIN agent_outbox_messages AS m FORCE INDEX (outbox_pending_slot)
           ON m.pending_slot = s.slot AND m.waits_for = 1
       WHERE m.retry_count > 0
       LIMIT v_most
    ) AS counted;
  SELECT /*+ SET_VAR(sql_big_selects = 1) */ MAX(worst.id), MAX(worst.retry_count), MAX(worst.topic), MAX(worst.message_key), MAX(worst.biz_type),
         MAX(LEFT(REGEXP_REPLACE(LEFT(worst.last_error, 500), CONCAT('(?s)', v_quote, '(.*', v_quote, '|.*$)'), '…'), 200))
    INTO v_id, v_failures, v_topic, v_key, v_biz_type, v_error
    FROM (
      SELECT m.id, m.retry_count, m.topic, m.message_key, m.biz_type, m.last_error
        FROM outbox_slots AS s
        STRAIGHT_JOIN agent_outbox_messages AS m FORCE INDEX (outbox_pending_slot)
           ON m.pending_slot = s.slot AND m.waits_for = 1
       WHERE m.retry_count >= v_often
       ORDER BY m.retry_count DESC, m.id
       LIMIT 1
    ) AS worst;
  IF v_id IS NULL THEN
    CALL outbox_internal_tell_v1(p_findings, 'ok', 'failing', CONCAT(v_failing, ' messages wait for a retry, none has failed ', v_often, ' times'), NULL);
  ELSE
    SELECT /*+ SET_VAR(sql_big_selects = 1) */ COUNT(*)
      INTO v_followers
      FROM agent_outbox_messages FORCE INDEX (outbox_open_lane)
     WHERE open_lane = CRC32(CONCAT(v_topic, ':', v_key))
       AND topic = v_topic
       AND message_key = v_key
       AND id > v_id;
    CALL outbox_internal_tell_v1(p_findings, 'warning', 'failing',
      CONCAT(IF(v_failing < v_most, v_failing, CONCAT('more than ', v_most)), ' wait for a retry; message ', v_id, ' (topic ', v_topic, ', key ', v_key,
        ', business type ', v_biz_type, ') has failed ', v_failures, ' times, ', v_followers, ' wait behind it: ', COALESCE(v_error, '')),
      CONCAT('outboxd show ', v_id, '; mend what its error says, or give it up: outboxd give-up ', v_id));
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (936, 'V0936__internal_examine_failing_v1.sql');
