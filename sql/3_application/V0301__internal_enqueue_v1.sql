SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_enqueue_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_enqueue_v1 (
  IN p_biz_type TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_topic TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_message_key TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_payload LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_max_retry INT,
  IN p_headers JSON,
  IN p_delay_seconds INT,
  IN p_deliver_at DATETIME(6),
  OUT p_id BIGINT UNSIGNED
)
COMMENT '
Checks a message and stores it.
Internal: outbox_enqueue_v1, outbox_enqueue_with_options_v1 and outbox_enqueue_chat_history_v1 call it.

Parameters
  p_biz_type TEXT, 1 to 64 characters: decides what consuming the message does
  p_topic TEXT, 1 to 249 characters: the Kafka topic
  p_message_key TEXT, 1 to 255 characters: the record''s key
  p_payload LONGTEXT: any valid JSON, kept byte for byte
  p_max_retry INT: failures after which the message is dead, unless its business type says otherwise; NULL or 0 or
    less: 20
  p_headers JSON: an object of strings; NULL: none
  p_delay_seconds INT: how long it is not sent; NULL: 0
  p_deliver_at DATETIME(6): before that it is not sent; NULL: after the delay
  OUT p_id BIGINT UNSIGNED: the message''s id

Errors (nothing is stored)
  30001 an argument is NULL or empty; 30002 too long
  30003 p_payload is not JSON or nested deeper than 100 levels; 30011 the session''s insert_id is set

Transaction: the caller''s.

Example
  mysql> CALL outbox_internal_enqueue_v1(''order_placed'', ''orders'', ''Ada'', ''{"order":1}'', NULL, NULL, NULL, NULL, @id);
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_now DATETIME(6) DEFAULT UTC_TIMESTAMP(6);
  DECLARE v_last_insert_id BIGINT UNSIGNED DEFAULT LAST_INSERT_ID();
  -- For JSON that is nested too deep, JSON_VALID raises 3157 instead of returning 0.
  DECLARE EXIT HANDLER FOR 3157
    CALL outbox_internal_raise_v1(30003, CONCAT('p_payload is nested deeper than 100 levels: ', LEFT(p_payload, 60)));

  IF COALESCE(CHAR_LENGTH(p_biz_type), 0) NOT BETWEEN 1 AND 64 THEN
    CALL outbox_internal_reject_text_v1('p_biz_type', p_biz_type, 64);
  END IF;
  IF COALESCE(CHAR_LENGTH(p_topic), 0) NOT BETWEEN 1 AND 249 THEN
    CALL outbox_internal_reject_text_v1('p_topic', p_topic, 249);
  END IF;
  IF COALESCE(CHAR_LENGTH(p_message_key), 0) NOT BETWEEN 1 AND 255 THEN
    CALL outbox_internal_reject_text_v1('p_message_key', p_message_key, 255);
  END IF;
  IF p_payload IS NULL THEN
    CALL outbox_internal_raise_v1(30001, 'p_payload must not be NULL');
  ELSEIF NOT JSON_VALID(p_payload) THEN
    CALL outbox_internal_raise_v1(30003, CONCAT('p_payload is not valid JSON: ', LEFT(p_payload, 80)));
  END IF;

  -- An id of the session's own would be given out twice, or be the last that there is.
  IF @@SESSION.insert_id <> 0 THEN
    CALL outbox_internal_raise_v1(30011, CONCAT('insert_id is set in this session, to ', @@SESSION.insert_id, ': ids are given out by the outbox'));
  END IF;

  -- One reading of the clock for both times: they are equal in a new message, and differ in a delayed one (waits_for).
  INSERT INTO agent_outbox_messages
    (biz_type, topic, message_key, payload, headers, status, retry_count, max_retry, next_retry_at, created_at, updated_at)
  VALUES
    (p_biz_type, p_topic, p_message_key, p_payload, p_headers, 'pending', 0,
     IF(p_max_retry > 0, p_max_retry, 20),
     GREATEST(COALESCE(p_deliver_at, v_now + INTERVAL COALESCE(p_delay_seconds, 0) SECOND), v_now), v_now, v_now);
  SET p_id = LAST_INSERT_ID();
  DO LAST_INSERT_ID(v_last_insert_id);
  -- Set to 0 it looks as if it were not set, and the message has the id 0.
  IF p_id = 0 THEN
    DELETE FROM agent_outbox_messages WHERE id = 0;
    CALL outbox_internal_raise_v1(30011, 'insert_id is set in this session, to 0: ids are given out by the outbox');
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (301, 'V0301__internal_enqueue_v1.sql');
