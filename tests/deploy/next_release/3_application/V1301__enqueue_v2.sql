SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_enqueue_v2;

DELIMITER $$

CREATE PROCEDURE outbox_enqueue_v2 (
  IN p_biz_type TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_topic TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_message_key TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_payload LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_max_retry INT,
  IN p_source TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  OUT p_id BIGINT UNSIGNED
)
COMMENT '
Puts a message into the outbox as outbox_enqueue_v1 does, and notes who did.

Parameters
  p_biz_type TEXT: decides what consuming the message does
  p_topic TEXT: the Kafka topic
  p_message_key TEXT: the record''s key
  p_payload LONGTEXT: any valid JSON
  p_max_retry INT: failures after which the message is dead; NULL or 0 or less: 20
  p_source TEXT, 1 to 64 characters: the application
  OUT p_id BIGINT UNSIGNED: the message''s id

Errors (nothing is stored)
  30001 an argument is NULL or empty; 30002 too long; 30003 p_payload is not JSON

Called by: applications. Transaction: the caller''s.

Example
  mysql> CALL outbox_enqueue_v2(''order_placed'', ''orders'', ''Ada'', ''{"order":1}'', NULL, ''shop'', @id);
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_is_new BOOLEAN;

  IF COALESCE(CHAR_LENGTH(p_source), 0) NOT BETWEEN 1 AND 64 THEN
    CALL outbox_internal_reject_text_v1('p_source', p_source, 64);
  END IF;
  CALL outbox_internal_enqueue_v1('p_', p_biz_type, p_topic, p_message_key, p_payload, NULL, NULL, p_max_retry, NULL, p_id, v_is_new);
  UPDATE agent_outbox_messages
     SET source = p_source
   WHERE id = p_id;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (1301, 'V1301__enqueue_v2.sql');
