SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_get_v1;

DELIMITER $$

CREATE PROCEDURE outbox_get_v1 (
  IN p_id BIGINT UNSIGNED
)
COMMENT '
Returns one message.

Parameters
  p_id BIGINT UNSIGNED: the message

Result set: one row with the columns of agent_outbox_messages, or none where there is no such message.

Called by: relays, operators. Reads only; transaction: the caller''s.

Example
  mysql> CALL outbox_get_v1(1);
'
SQL SECURITY DEFINER
READS SQL DATA
BEGIN
  SELECT id, biz_type, topic, message_key, payload, body, content_type, headers, origin, dedup_key, status, retry_count, max_retry,
         next_retry_at, last_error, kafka_partition, kafka_offset, published_at, consumed_at, created_at, updated_at
    FROM agent_outbox_messages
   WHERE id = p_id;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (901, 'V0901__get_v1.sql');
