SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_note_received_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_note_received_v1 ()
COMMENT '
Notes at the subscriptions that records of them have come, once a minute.
Internal: outbox_receive_v1 calls it, for what stands in the session''s temporary table outbox_received.

Transaction: the caller''s. A subscription that another session has locked is passed over.

Example
  mysql> CALL outbox_internal_note_received_v1();
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_now DATETIME(6) DEFAULT UTC_TIMESTAMP(6);
  DECLARE v_due JSON;

  SELECT JSON_ARRAYAGG(JSON_ARRAY(s.source, s.event_type))
    INTO v_due
    FROM outbox_subscriptions AS s
   WHERE (s.received_at IS NULL OR s.received_at NOT BETWEEN v_now - INTERVAL 1 MINUTE AND v_now)
     AND EXISTS (SELECT 1 FROM outbox_received AS r WHERE r.source = s.source AND r.event_type = s.event_type);
  IF v_due IS NOT NULL THEN
    SELECT JSON_ARRAYAGG(JSON_ARRAY(s.source, s.event_type))
      INTO v_due
      FROM JSON_TABLE(v_due, '$[*]' COLUMNS (
             source VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin PATH '$[0]',
             event_type VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin PATH '$[1]')) AS due
      STRAIGHT_JOIN outbox_subscriptions AS s FORCE INDEX (PRIMARY) ON s.source = due.source AND s.event_type = due.event_type
       FOR UPDATE OF s SKIP LOCKED;
    UPDATE /*+ SET_VAR(sql_safe_updates = 0) */ JSON_TABLE(COALESCE(v_due, '[]'), '$[*]' COLUMNS (
             source VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin PATH '$[0]',
             event_type VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin PATH '$[1]')) AS due
      STRAIGHT_JOIN outbox_subscriptions AS s FORCE INDEX (PRIMARY) ON s.source = due.source AND s.event_type = due.event_type
       SET s.received_at = v_now;
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (624, 'V0624__internal_note_received_v1.sql');
