SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_enqueue_returning_v1;

DELIMITER $$

CREATE PROCEDURE outbox_enqueue_returning_v1 (
  IN p_biz_type TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_topic TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_message_key TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_payload LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_options LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin
)
COMMENT '
Puts a message into the outbox and returns its id as a row: one statement, for every driver, and without @id, which keeps
the id of an earlier call where this one is refused or the pool hands out another connection.
It joins the caller''s transaction and never commits: the message exists if and only if that transaction commits.

Parameters
  p_biz_type TEXT, 1 to 64 characters: decides what consuming the message does (outbox_biz_types).
    A type without a handler, registered or not, is publish-only: Kafka''s acknowledgement consumes the message.
  p_topic TEXT, 1 to 249 letters of ASCII, digits, and any of . _ -: the Kafka topic
  p_message_key TEXT, 1 to 255 characters: the record''s key; messages of one topic and key keep their order
  p_payload LONGTEXT: any valid JSON, kept byte for byte and sent as it is
  p_options LONGTEXT: a JSON object, as in outbox_enqueue_with_options_v1; NULL: none

Result set: one row: id, the message''s id, the CloudEvents id of its record.

Errors (nothing is stored)
  those of outbox_enqueue_with_options_v1

Called by: applications. Transaction: the caller''s; with a dedup key it has one of its own under autocommit.

Example
  mysql> CALL outbox_enqueue_returning_v1(''order_placed'', ''orders'', ''Ada'', ''{"order":1}'', NULL);
  +----+
  | id |
  +----+
  |  1 |
  +----+
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_id BIGINT UNSIGNED;
  DECLARE v_is_new BOOLEAN;
  CALL outbox_internal_enqueue_v1('p_', p_biz_type, p_topic, p_message_key, p_payload, NULL, NULL, NULL, p_options, v_id, v_is_new);
  SELECT v_id AS id;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (306, 'V0306__enqueue_returning_v1.sql');
