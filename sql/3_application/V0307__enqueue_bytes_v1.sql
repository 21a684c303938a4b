SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_enqueue_bytes_v1;

DELIMITER $$

CREATE PROCEDURE outbox_enqueue_bytes_v1 (
  IN p_biz_type TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_topic TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_message_key TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_body LONGBLOB,
  IN p_content_type TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_options LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  OUT p_id BIGINT UNSIGNED
)
COMMENT '
Puts bytes into the outbox that are sent as they are: Avro, Protobuf or whatever the application''s own serializer has made,
or a tombstone for a compacted topic.
It joins the caller''s transaction and never commits: the message exists if and only if that transaction commits.

Parameters
  p_biz_type TEXT, 1 to 64 characters: a business type without a handler, registered or not
  p_topic TEXT, 1 to 249 letters of ASCII, digits, and any of . _ -: the Kafka topic
  p_message_key TEXT, 1 to 255 characters: the record''s key; messages of one topic and key keep their order
  p_body LONGBLOB: the record''s value; NULL: a tombstone, a record without a value
  p_content_type TEXT, 1 to 255 characters: sent as the header content-type, such as application/avro; may be NULL where
    p_body is NULL, and is not sent then
  p_options LONGTEXT: a JSON object, as in outbox_enqueue_with_options_v1; NULL: none
  OUT p_id BIGINT UNSIGNED: the message''s id, the CloudEvents id of its record

Errors (nothing is stored)
  30001 an argument is NULL or empty; 30002 too long; 30013 Kafka takes no topic of this name
  30014 p_body is larger than outbox_set_max_payload_bytes_v1 allows
  30015 the business type has a handler: handlers take JSON
  30003, 30005, 30011, 30012, 1205, 1213: as outbox_enqueue_with_options_v1

Called by: applications. Transaction: the caller''s; with a dedup key it has one of its own under autocommit.

Example
  mysql> CALL outbox_enqueue_bytes_v1(''order_placed'', ''orders'', ''Ada'', x''0000000001025A'', ''application/avro'', NULL, @id);
  mysql> CALL outbox_enqueue_bytes_v1(''order_placed'', ''orders'', ''Ada'', NULL, NULL, NULL, @id);
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_is_new BOOLEAN;
  IF COALESCE(CHAR_LENGTH(p_content_type), IF(p_body IS NULL, 1, 0)) NOT BETWEEN 1 AND 255 THEN
    CALL outbox_internal_reject_text_v1('p_content_type', p_content_type, 255);
  END IF;
  IF EXISTS (SELECT 1 FROM outbox_biz_types WHERE biz_type = p_biz_type AND handler IS NOT NULL) THEN
    CALL outbox_internal_raise_v1(30015, CONCAT('p_biz_type "', p_biz_type, '" has a handler, which takes JSON: bytes are for publish-only types'));
  END IF;
  CALL outbox_internal_enqueue_v1('p_', p_biz_type, p_topic, p_message_key, 'null', p_body, COALESCE(p_content_type, ''), NULL, p_options, p_id, v_is_new);
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (307, 'V0307__enqueue_bytes_v1.sql');
