SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_enqueue_v1;

DELIMITER $$

CREATE PROCEDURE outbox_enqueue_v1 (
  IN p_biz_type TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_topic TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_message_key TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_payload LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_max_retry INT,
  OUT p_id BIGINT UNSIGNED
)
COMMENT '
Puts a message into the outbox: pending, due now.
It joins the caller''s transaction and never commits: the message exists if and only if that transaction commits.

Parameters
  p_biz_type TEXT, 1 to 64 characters: decides what consuming the message does (outbox_biz_types).
    A type without a handler, registered or not, is publish-only: Kafka''s acknowledgement consumes the message.
  p_topic TEXT, 1 to 249 letters of ASCII, digits, and any of . _ -: the Kafka topic
  p_message_key TEXT, 1 to 255 characters: the record''s key; messages of one topic and key keep their order
  p_payload LONGTEXT: any valid JSON, kept byte for byte and sent as it is
  p_max_retry INT: failures after which the message is dead, unless its business type says otherwise; NULL or 0 or
    less: 20
  OUT p_id BIGINT UNSIGNED: the message''s id, the CloudEvents id of its record

Errors (nothing is stored)
  30001 an argument is NULL or empty; 30002 too long; 30013 Kafka takes no topic of this name
  30003 p_payload is not JSON or nested deeper than 100 levels; 30014 larger than outbox_set_max_payload_bytes_v1 allows
  30011 the session''s insert_id is set

Called by: applications. Transaction: the caller''s.

Example
  mysql> START TRANSACTION;
  mysql> INSERT INTO orders (customer) VALUES (''Ada'');
  mysql> CALL outbox_enqueue_v1(''order_placed'', ''orders'', ''Ada'', ''{"order":1}'', NULL, @id);
  mysql> COMMIT;
  mysql> SELECT @id;
  +------+
  | @id  |
  +------+
  |    2 |
  +------+
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_is_new BOOLEAN;
  CALL outbox_internal_enqueue_v1('p_', p_biz_type, p_topic, p_message_key, p_payload, NULL, NULL, p_max_retry, NULL, p_id, v_is_new);
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (303, 'V0303__enqueue_v1.sql');
