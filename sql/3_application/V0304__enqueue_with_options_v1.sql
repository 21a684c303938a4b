SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_enqueue_with_options_v1;

DELIMITER $$

CREATE PROCEDURE outbox_enqueue_with_options_v1 (
  IN p_biz_type TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_topic TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_message_key TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_payload LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_options LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  OUT p_id BIGINT UNSIGNED
)
COMMENT '
Puts a message into the outbox, with Kafka headers of its own, or to be sent later.
It joins the caller''s transaction and never commits: the message exists if and only if that transaction commits.

Parameters
  p_biz_type TEXT, 1 to 64 characters: decides what consuming the message does (outbox_biz_types).
    A type without a handler, registered or not, is publish-only: Kafka''s acknowledgement consumes the message.
  p_topic TEXT, 1 to 249 characters: the Kafka topic
  p_message_key TEXT, 1 to 255 characters: the record''s key; messages of one topic and key keep their order
  p_payload LONGTEXT: any valid JSON, kept byte for byte and sent as it is
  p_options LONGTEXT: a JSON object; NULL: none. Each of these may be missing or null:
    "max_retry": an integer: failures after which the message is dead, unless its business type says otherwise; 0 or
      less: 20
    "headers": an object of strings, sent as Kafka headers (such as traceparent)
    "delay_seconds": an integer from 0: how long it is not sent; later messages of its topic and key wait behind it
    "deliver_at": instead of delay_seconds: a time in UTC, as "2026-11-27 14:00:00" or "2026-11-27T14:00:00Z"
  OUT p_id BIGINT UNSIGNED: the message''s id, the CloudEvents id of its record

Errors (nothing is stored)
  30001 an argument is NULL or empty; 30002 too long
  30003 p_payload is not JSON or nested deeper than 100 levels, or p_options is not a JSON object
  30005 delay_seconds is negative; 30011 the session''s insert_id is set
  30012 an option is unknown, or has a value of the wrong kind

Called by: applications. Transaction: the caller''s.

Example
  mysql> CALL outbox_enqueue_with_options_v1(''order_placed'', ''orders'', ''Ada'', ''{"order":1}'',
      ->   ''{"delay_seconds": 60, "headers": {"tenant": "eu-1"}}'', @id);
  mysql> SELECT @id;
  +------+
  | @id  |
  +------+
  |    1 |
  +------+
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_headers JSON;
  DECLARE v_max_retry, v_delay_seconds INT;
  DECLARE v_deliver_at DATETIME(6);

  CALL outbox_internal_read_options_v1(p_options, v_max_retry, v_headers, v_delay_seconds, v_deliver_at);
  CALL outbox_internal_enqueue_v1(p_biz_type, p_topic, p_message_key, p_payload, v_max_retry, v_headers, v_delay_seconds, v_deliver_at, p_id);
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (304, 'V0304__enqueue_with_options_v1.sql');
