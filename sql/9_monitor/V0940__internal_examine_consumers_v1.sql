SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_examine_consumers_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_examine_consumers_v1 (
  INOUT p_findings JSON
)
COMMENT '
Examines whether what Kafka has is consumed: how long published messages have waited, by topic.
Internal: outbox_doctor_v1 calls it.

Parameters
  INOUT p_findings JSON: what was found so far, see outbox_internal_tell_v1; comes back with more

Reads only; transaction: the caller''s.

Example
  mysql> SET @findings = JSON_ARRAY();
  mysql> CALL outbox_internal_examine_consumers_v1(@findings);
'
SQL SECURITY DEFINER
READS SQL DATA
BEGIN
  DECLARE v_late_seconds INT DEFAULT 60;
  DECLARE v_most INT DEFAULT 10000;
  DECLARE v_done BOOLEAN DEFAULT FALSE;
  DECLARE v_is_late BOOLEAN DEFAULT FALSE;
  DECLARE v_topic TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;
  DECLARE v_messages, v_seconds INT;
  DECLARE v_late CURSOR FOR
    SELECT /*+ SET_VAR(sql_big_selects = 1) */ waiting.topic, COUNT(*), MAX(TIMESTAMPDIFF(SECOND, waiting.since, UTC_TIMESTAMP(6)))
      FROM (
        SELECT topic, COALESCE(published_at, updated_at) AS since
          FROM agent_outbox_messages FORCE INDEX (idx_outbox_status_next)
         WHERE status = 'published'
         LIMIT v_most
      ) AS waiting
     WHERE waiting.since < UTC_TIMESTAMP(6) - INTERVAL v_late_seconds SECOND
     GROUP BY waiting.topic
     ORDER BY waiting.topic;
  DECLARE CONTINUE HANDLER FOR NOT FOUND SET v_done = TRUE;

  OPEN v_late;
  each_topic: LOOP
    FETCH v_late INTO v_topic, v_messages, v_seconds;
    IF v_done THEN
      LEAVE each_topic;
    END IF;
    SET v_is_late = TRUE;
    CALL outbox_internal_tell_v1(p_findings, 'error', 'consumers',
      CONCAT(v_messages, ' messages of topic ', v_topic, ' are in Kafka and not consumed, since up to ', v_seconds, ' s'),
      'see that a consumer runs and reads the topic (outboxd run, setting topics), and look into its log: it may be stuck');
  END LOOP;
  CLOSE v_late;
  IF NOT v_is_late THEN
    CALL outbox_internal_tell_v1(p_findings, 'ok', 'consumers', CONCAT('nothing in Kafka has waited for ', v_late_seconds, ' s'), NULL);
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (940, 'V0940__internal_examine_consumers_v1.sql');
