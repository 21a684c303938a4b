SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_examine_inbox_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_examine_inbox_v1 (
  INOUT p_findings JSON
)
COMMENT '
Examines the subscriptions to records of others: whether their business types have handlers, and whether records of them come.
Internal: outbox_doctor_v1 calls it.

Parameters
  INOUT p_findings JSON: what was found so far, see outbox_internal_tell_v1; comes back with more

Reads only; transaction: the caller''s.

Example
  mysql> SET @findings = JSON_ARRAY();
  mysql> CALL outbox_internal_examine_inbox_v1(@findings);
'
SQL SECURITY DEFINER
READS SQL DATA
BEGIN
  DECLARE v_patience_minutes INT DEFAULT 10;
  DECLARE v_done, v_is_wrong BOOLEAN DEFAULT FALSE;
  DECLARE v_count INT DEFAULT 0;
  DECLARE v_source, v_event_type, v_biz_type, v_handler TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;
  DECLARE v_subscribed_at, v_received_at DATETIME(6);
  DECLARE v_subscriptions CURSOR FOR
    SELECT s.source, s.event_type, s.biz_type, t.handler, s.subscribed_at, s.received_at
      FROM outbox_subscriptions AS s
      LEFT JOIN outbox_biz_types AS t ON t.biz_type = s.biz_type
     ORDER BY s.source, s.event_type;
  DECLARE CONTINUE HANDLER FOR NOT FOUND SET v_done = TRUE;

  OPEN v_subscriptions;
  each_subscription: LOOP
    FETCH v_subscriptions INTO v_source, v_event_type, v_biz_type, v_handler, v_subscribed_at, v_received_at;
    IF v_done THEN
      LEAVE each_subscription;
    END IF;
    SET v_count = v_count + 1;
    IF v_handler IS NULL THEN
      SET v_is_wrong = TRUE;
      CALL outbox_internal_tell_v1(p_findings, 'error', 'inbox',
        CONCAT('business type ', v_biz_type, ', as which records of ', v_source, ' take effect, has no handler: each becomes a dead letter'),
        CONCAT('outboxd biz-type set ', v_biz_type, ' --handler ..., then outboxd dead requeue --biz-type ', v_biz_type));
    END IF;
    IF v_received_at IS NULL AND v_subscribed_at < UTC_TIMESTAMP(6) - INTERVAL v_patience_minutes MINUTE THEN
      SET v_is_wrong = TRUE;
      CALL outbox_internal_tell_v1(p_findings, 'warning', 'inbox',
        CONCAT('no record of ', v_source, ', type ', v_event_type, ', has come since ', LEFT(v_subscribed_at, 19), ' UTC'),
        'see that outboxd run has the setting topics with their topic, and compare with ce_source and ce_type of a record there');
    END IF;
  END LOOP;
  CLOSE v_subscriptions;
  IF NOT v_is_wrong THEN
    CALL outbox_internal_tell_v1(p_findings, 'ok', 'inbox', CONCAT('subscriptions: ', v_count), NULL);
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (942, 'V0942__internal_examine_inbox_v1.sql');
