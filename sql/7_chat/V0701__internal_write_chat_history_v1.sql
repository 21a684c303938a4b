SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_write_chat_history_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_write_chat_history_v1 (
  IN p_id BIGINT UNSIGNED,
  IN p_payload LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin
)
COMMENT '
The handler of biz_type chat_history_persist: writes one chat message to chat_histories.

Parameters
  p_id BIGINT UNSIGNED: the outbox message
  p_payload LONGTEXT: {"user_id": integer that BIGINT holds, "conversation_id": text of 1 to 255 characters, "role":
    text of 1 to 32, "message": text}; other members are ignored

Errors (nothing is written)
  30003 p_payload is not JSON
  30007 a member is missing, of another type or too long

Called by: outbox_consume_v1 and outbox_persist_chat_history_v1. Transaction: the caller''s, as for every handler.

Example
  mysql> CALL outbox_internal_write_chat_history_v1(1, ''{"user_id":7,"conversation_id":"c-1","role":"user","message":"hi"}'');
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_largest_bigint BIGINT DEFAULT 9223372036854775807;
  DECLARE v_payload, v_user_id, v_chat_id, v_role, v_message JSON;
  -- Typed, because what the JSON functions return is in utf8mb4_bin, which does not compare with a literal of this routine.
  DECLARE v_payload_type, v_user_id_type, v_chat_id_type, v_role_type, v_message_type VARCHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;
  DECLARE v_user_id_text, v_chat_id_text, v_role_text LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;

  IF NOT COALESCE(JSON_VALID(p_payload), FALSE) THEN
    CALL outbox_internal_raise_v1(30003, CONCAT('payload of message ', p_id, ' is not valid JSON'));
  END IF;
  SET v_payload = p_payload;
  SET v_user_id = JSON_EXTRACT(v_payload, '$.user_id'),
      v_chat_id = JSON_EXTRACT(v_payload, '$.conversation_id'),
      v_role = JSON_EXTRACT(v_payload, '$.role'),
      v_message = JSON_EXTRACT(v_payload, '$.message');
  SET v_payload_type = JSON_TYPE(v_payload),
      v_user_id_type = JSON_TYPE(v_user_id),
      v_chat_id_type = JSON_TYPE(v_chat_id),
      v_role_type = JSON_TYPE(v_role),
      v_message_type = JSON_TYPE(v_message);
  SET v_user_id_text = JSON_UNQUOTE(v_user_id),
      v_chat_id_text = JSON_UNQUOTE(v_chat_id),
      v_role_text = JSON_UNQUOTE(v_role);

  IF v_payload_type <> 'OBJECT' THEN
    CALL outbox_internal_raise_v1(30007, CONCAT('payload must be a JSON object, it is of type ', v_payload_type));
  END IF;
  -- JSON_TYPE calls an integer unsigned from 4294967296 on, not only where BIGINT cannot hold it; and a cast of the
  -- JSON itself takes one beyond BIGINT for a negative number.
  IF COALESCE(v_user_id_type, '') NOT IN ('INTEGER', 'UNSIGNED INTEGER')
    OR CAST(v_user_id_text AS DECIMAL(20, 0)) > v_largest_bigint THEN
    CALL outbox_internal_raise_v1(30007, CONCAT('user_id must be an integer, it is ', COALESCE(LEFT(IF(v_user_id_type = 'STRING', JSON_QUOTE(v_user_id_text), v_user_id_text), 60), 'missing')));
  END IF;
  IF NOT v_chat_id_type <=> 'STRING' OR CHAR_LENGTH(v_chat_id_text) NOT BETWEEN 1 AND 255 THEN
    CALL outbox_internal_raise_v1(30007, CONCAT('conversation_id must be a text of 1 to 255 characters, it is ',
      COALESCE(IF(v_chat_id_text = '', '""', LEFT(v_chat_id_text, 60)), 'missing')));
  END IF;
  IF NOT v_role_type <=> 'STRING' OR CHAR_LENGTH(v_role_text) NOT BETWEEN 1 AND 32 THEN
    CALL outbox_internal_raise_v1(30007, CONCAT('role must be a text of 1 to 32 characters, it is ',
      COALESCE(IF(v_role_text = '', '""', LEFT(v_role_text, 60)), 'missing')));
  END IF;
  IF NOT v_message_type <=> 'STRING' THEN
    CALL outbox_internal_raise_v1(30007, CONCAT('message must be a text, it is ', COALESCE(CONCAT('of type ', v_message_type), 'missing')));
  END IF;

  INSERT INTO chat_histories (user_id, chat_id, role, message_content, created_at)
  VALUES (CAST(v_user_id AS SIGNED), v_chat_id_text, v_role_text, JSON_UNQUOTE(v_message), UTC_TIMESTAMP(6));
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (701, 'V0701__internal_write_chat_history_v1.sql');
