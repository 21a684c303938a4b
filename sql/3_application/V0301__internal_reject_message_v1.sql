SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_reject_message_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_reject_message_v1 (
  IN p_prefix VARCHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_biz_type TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_topic TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_message_key TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_payload LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_bytes BIGINT UNSIGNED
)
COMMENT '
Raises the error for a message that cannot be stored, and names what is wrong with it.
Internal: outbox_internal_enqueue_v1 calls it where its own test has found the message wrong, or large.

Parameters
  p_prefix VARCHAR(32): what stands before the names in the error: p_, or such as p_messages[3].
  p_biz_type TEXT: of the message
  p_topic TEXT: of the message
  p_message_key TEXT: of the message
  p_payload LONGTEXT: of the message
  p_bytes BIGINT UNSIGNED: how large its payload or body is

Errors
  30001, 30002, 30003, 30013, 30014: as outbox_enqueue_v1

Returns where nothing is wrong: the payload is large, yet not larger than outbox_set_max_payload_bytes_v1 allows.
Transaction: the caller''s; reads outbox_installation.

Example
  mysql> CALL outbox_internal_reject_message_v1(''p_'', ''order_placed'', ''bad topic!'', ''Ada'', ''{}'', 2);
  ERROR 30013 (45000): p_topic "bad topic!" is no name of a Kafka topic: letters of ASCII, digits and . _ - only
'
SQL SECURITY DEFINER
READS SQL DATA
BEGIN
  DECLARE v_key_name VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin DEFAULT CONCAT(p_prefix, IF(p_prefix = 'p_', 'message_key', 'key'));
  -- Of an outbox that has lost its row of outbox_installation.
  DECLARE v_most_bytes BIGINT UNSIGNED DEFAULT 1000000;

  IF COALESCE(CHAR_LENGTH(p_biz_type), 0) NOT BETWEEN 1 AND 64 THEN
    CALL outbox_internal_reject_text_v1(CONCAT(p_prefix, 'biz_type'), p_biz_type, 64);
  ELSEIF COALESCE(CHAR_LENGTH(p_topic), 0) NOT BETWEEN 1 AND 249 THEN
    CALL outbox_internal_reject_text_v1(CONCAT(p_prefix, 'topic'), p_topic, 249);
  ELSEIF REGEXP_LIKE(p_topic, '[^a-zA-Z0-9._-]', 'c') THEN
    CALL outbox_internal_raise_v1(30013, CONCAT(p_prefix, 'topic "', LEFT(p_topic, 30), '" is no name of a Kafka topic: letters of ASCII, digits and . _ - only'));
  ELSEIF p_topic IN ('.', '..') THEN
    CALL outbox_internal_raise_v1(30013, CONCAT(p_prefix, 'topic "', p_topic, '" is no name of a Kafka topic'));
  ELSEIF COALESCE(CHAR_LENGTH(p_message_key), 0) NOT BETWEEN 1 AND 255 THEN
    CALL outbox_internal_reject_text_v1(v_key_name, p_message_key, 255);
  ELSEIF p_payload IS NULL THEN
    CALL outbox_internal_raise_v1(30001, CONCAT(p_prefix, 'payload must not be NULL'));
  ELSEIF NOT JSON_VALID(p_payload) THEN
    CALL outbox_internal_raise_v1(30003, CONCAT(p_prefix, 'payload is not valid JSON: ', LEFT(p_payload, 80)));
  END IF;
  SELECT COALESCE(MAX(max_payload_bytes), v_most_bytes) INTO v_most_bytes FROM outbox_installation;
  IF p_bytes > v_most_bytes THEN
    CALL outbox_internal_raise_v1(30014, CONCAT(p_prefix, 'payload has ', p_bytes, ' bytes, more than the ', v_most_bytes, ' of outbox_set_max_payload_bytes_v1'));
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (301, 'V0301__internal_reject_message_v1.sql');
