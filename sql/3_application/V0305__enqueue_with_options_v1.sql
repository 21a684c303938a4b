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
Puts a message into the outbox, with Kafka headers of its own, to be sent later, or at most once for a key.
It joins the caller''s transaction and never commits: the message exists if and only if that transaction commits.

Parameters
  p_biz_type TEXT, 1 to 64 characters: decides what consuming the message does (outbox_biz_types).
    A type without a handler, registered or not, is publish-only: Kafka''s acknowledgement consumes the message.
  p_topic TEXT, 1 to 249 letters of ASCII, digits, and any of . _ -: the Kafka topic
  p_message_key TEXT, 1 to 255 characters: the record''s key; messages of one topic and key keep their order
  p_payload LONGTEXT: any valid JSON, kept byte for byte and sent as it is
  p_options LONGTEXT: a JSON object; NULL: none. Each of these may be missing or null:
    "max_retry": an integer: failures after which the message is dead, unless its business type says otherwise; 0 or
      less: 20
    "headers": an object of strings, sent as Kafka headers (such as traceparent)
    "delay_seconds": an integer from 0: how long it is not sent; later messages of its topic and key wait behind it
    "deliver_at": instead of delay_seconds: a time in UTC, as "2026-11-27 14:00:00" or "2026-11-27T14:00:00Z"
    "dedup_key": a string of 1 to 255 characters, any that names what the message is about, such as "order 17 placed".
      Where a message was enqueued with the same key before, nothing is stored, and its id comes back. Where another
      session''s transaction has just done so, the call waits for its end. The key is kept until
      outbox_purge_dedup_keys_v1 deletes it, also when its message is purged before
  OUT p_id BIGINT UNSIGNED: the message''s id, the CloudEvents id of its record

Errors (nothing is stored)
  30001 an argument is NULL or empty; 30002 too long; 30013 Kafka takes no topic of this name
  30003 p_payload is not JSON or nested deeper than 100 levels; 30014 larger than outbox_set_max_payload_bytes_v1 allows, or
    p_options is not a JSON object
  30005 delay_seconds is negative; 30011 the session''s insert_id is set
  30012 an option is unknown, or has a value of the wrong kind
  1205, 1213 another session''s transaction holds the dedup key

Called by: applications. Transaction: the caller''s; with a dedup key it has one of its own under autocommit.

Example
  mysql> CALL outbox_enqueue_with_options_v1(''order_placed'', ''orders'', ''Ada'', ''{"order":1}'',
      ->   ''{"delay_seconds": 60, "headers": {"tenant": "eu-1"}, "dedup_key": "order 1 placed"}'', @id);
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
  DECLARE v_is_new BOOLEAN;
  CALL outbox_internal_enqueue_v1('p_', p_biz_type, p_topic, p_message_key, p_payload, NULL, NULL, NULL, p_options, p_id, v_is_new);
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (305, 'V0305__enqueue_with_options_v1.sql');
