SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_write_chat_histories_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_write_chat_histories_v1 (
  IN p_is_check BOOLEAN
)
COMMENT '
The batch handler of biz_type chat_history_persist: writes all chat messages that are offered in outbox_batch to
chat_histories, with the same effect as outbox_internal_write_chat_history_v1 for each.

Parameters
  p_is_check BOOLEAN: TRUE: gives back what is no chat message; FALSE: writes what is offered

Called by: outbox_consume_v1. Transaction: the caller''s, as for every handler.

Example
  mysql> CALL outbox_internal_write_chat_histories_v1(FALSE);
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  IF p_is_check THEN
    UPDATE /*+ SET_VAR(sql_safe_updates = 0) */ outbox_batch
       SET outcome = 'todo'
     WHERE outcome = 'offered'
       AND NOT (COALESCE(JSON_VALID(payload), FALSE) AND JSON_SCHEMA_VALID('{
             "type": "object",
             "required": ["user_id", "conversation_id", "role", "message"],
             "properties": {
               "user_id": {"type": "integer", "minimum": -9223372036854775808, "maximum": 9223372036854775807},
               "conversation_id": {"type": "string", "minLength": 1, "maxLength": 255},
               "role": {"type": "string", "minLength": 1, "maxLength": 32},
               "message": {"type": "string"}}}', payload));
  ELSE
    INSERT INTO chat_histories (user_id, chat_id, role, message_content, created_at)
    SELECT chat.user_id, chat.chat_id, chat.role, chat.message, UTC_TIMESTAMP(6)
      FROM outbox_batch AS b
      STRAIGHT_JOIN JSON_TABLE(b.payload, '$' COLUMNS (
             user_id BIGINT PATH '$.user_id' ERROR ON ERROR,
             chat_id VARCHAR(255) PATH '$.conversation_id' ERROR ON ERROR,
             role VARCHAR(32) PATH '$.role' ERROR ON ERROR,
             message LONGTEXT PATH '$.message' ERROR ON ERROR)) AS chat
     WHERE b.outcome = 'offered'
     ORDER BY b.id;
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (702, 'V0702__internal_write_chat_histories_v1.sql');
