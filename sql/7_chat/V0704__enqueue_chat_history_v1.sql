SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_enqueue_chat_history_v1;

DELIMITER $$

CREATE PROCEDURE outbox_enqueue_chat_history_v1 (
  IN p_topic TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_message_key TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_user_id BIGINT,
  IN p_conversation_id TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_role TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_message LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_max_retry INT,
  OUT p_id BIGINT UNSIGNED
)
COMMENT '
Puts one chat message into the outbox, to be written to chat_histories when it is consumed.
It joins the caller''s transaction and never commits.

Parameters
  p_topic TEXT, 1 to 249 characters: the Kafka topic
  p_message_key TEXT, 1 to 255 characters: the record''s key; use the conversation''s id to keep conversations in order
  p_user_id BIGINT: becomes chat_histories.user_id
  p_conversation_id TEXT, 1 to 255 characters: becomes chat_id
  p_role TEXT, 1 to 32 characters: becomes role
  p_message LONGTEXT: becomes message_content; may be empty
  p_max_retry INT: failures after which the message is dead, unless its business type says otherwise; NULL or 0 or
    less: 20
  OUT p_id BIGINT UNSIGNED: the message''s id

Errors (nothing is stored)
  30001 an argument is NULL or empty; 30002 too long; 30011 the session''s insert_id is set
  30013 Kafka takes no topic of this name; 30014 the payload is too large

Called by: applications. Transaction: the caller''s.

Example
  mysql> CALL outbox_enqueue_chat_history_v1(''chat'', ''c-1'', 7, ''c-1'', ''user'', ''hi'', NULL, @id);
  mysql> SELECT biz_type, message_key, payload FROM agent_outbox_messages WHERE id = @id;
  +----------------------+-------------+--------------------------------------------------------------------+
  | biz_type             | message_key | payload                                                            |
  +----------------------+-------------+--------------------------------------------------------------------+
  | chat_history_persist | c-1         | {"user_id":7,"conversation_id":"c-1","role":"user","message":"hi"} |
  +----------------------+-------------+--------------------------------------------------------------------+
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_is_new BOOLEAN;

  IF p_user_id IS NULL THEN
    CALL outbox_internal_raise_v1(30001, 'p_user_id must not be NULL');
  END IF;
  IF COALESCE(CHAR_LENGTH(p_conversation_id), 0) NOT BETWEEN 1 AND 255 THEN
    CALL outbox_internal_reject_text_v1('p_conversation_id', p_conversation_id, 255);
  END IF;
  IF COALESCE(CHAR_LENGTH(p_role), 0) NOT BETWEEN 1 AND 32 THEN
    CALL outbox_internal_reject_text_v1('p_role', p_role, 32);
  END IF;
  IF p_message IS NULL THEN
    CALL outbox_internal_raise_v1(30001, 'p_message must not be NULL');
  END IF;

  -- Not JSON_OBJECT: it orders the keys by their length, and this order is the contract's.
  CALL outbox_internal_enqueue_v1('p_', 'chat_history_persist', p_topic, p_message_key,
    CONCAT('{"user_id":' COLLATE utf8mb4_0900_bin, p_user_id, ',"conversation_id":', JSON_QUOTE(p_conversation_id),
           ',"role":', JSON_QUOTE(p_role), ',"message":', JSON_QUOTE(p_message), '}'),
    NULL, NULL, p_max_retry, NULL, p_id, v_is_new);
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (704, 'V0704__enqueue_chat_history_v1.sql');
