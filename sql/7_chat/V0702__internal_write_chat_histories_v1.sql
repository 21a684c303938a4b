SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_write_chat_histories_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_write_chat_histories_v1 ()
COMMENT '
The chat messages of the batch, all at once: the same effect as outbox_internal_handle_v1 with outbox_internal_write_chat_history_v1 for
each, at a fraction of the cost. It takes those whose payload surely fits and that no other message of the batch must
precede; whatever is left, also when this fails as a whole, is handled one by one, where each finds its own error.
Internal: outbox_consume_v1 calls it.

Reads and changes outbox_batch. Transaction: the caller''s.

Example
  mysql> CALL outbox_internal_write_chat_histories_v1();
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_now DATETIME(6) DEFAULT UTC_TIMESTAMP(6);
  DECLARE v_behind JSON;
  -- The server's trouble, not a message's: the whole batch is to be tried again.
  DECLARE EXIT HANDLER FOR 1205, 1213, 1317
    RESIGNAL;
  DECLARE EXIT HANDLER FOR SQLEXCEPTION
  BEGIN
    ROLLBACK TO SAVEPOINT outbox_chat;
    UPDATE outbox_batch SET outcome = 'todo' WHERE outcome = 'consumed';
  END;

  SAVEPOINT outbox_chat;
  UPDATE outbox_batch
     SET outcome = 'consumed'
   WHERE outcome = 'todo'
     AND handler = 'outbox_internal_write_chat_history_v1'
     AND JSON_VALID(payload)
     AND JSON_SCHEMA_VALID('{
           "type": "object",
           "required": ["user_id", "conversation_id", "role", "message"],
           "properties": {
             "user_id": {"type": "integer", "minimum": -9223372036854775808, "maximum": 9223372036854775807},
             "conversation_id": {"type": "string", "minLength": 1, "maxLength": 255},
             "role": {"type": "string", "minLength": 1, "maxLength": 32},
             "message": {"type": "string"}}}', payload);

  IF EXISTS (SELECT 1 FROM outbox_batch WHERE outcome = 'todo' AND lane IS NOT NULL) THEN
    SELECT JSON_ARRAYAGG(seen.id)
      INTO v_behind
      FROM (
        SELECT id, outcome, MIN(IF(outcome = 'todo', id, NULL)) OVER (PARTITION BY lane, topic, message_key) AS first_odd
          FROM outbox_batch
         WHERE outcome IN ('todo', 'consumed')
           AND lane IS NOT NULL
      ) AS seen
     WHERE seen.outcome = 'consumed'
       AND seen.id > seen.first_odd;
    UPDATE JSON_TABLE(COALESCE(v_behind, '[]'), '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$')) AS behind
      STRAIGHT_JOIN outbox_batch AS b ON b.id = behind.id
       SET b.outcome = 'todo';
  END IF;

  INSERT INTO chat_histories (user_id, chat_id, role, message_content, created_at)
  SELECT chat.user_id, chat.chat_id, chat.role, chat.message, v_now
    FROM outbox_batch AS b
    STRAIGHT_JOIN JSON_TABLE(b.payload, '$' COLUMNS (
           user_id BIGINT PATH '$.user_id' ERROR ON ERROR,
           chat_id VARCHAR(255) PATH '$.conversation_id' ERROR ON ERROR,
           role VARCHAR(32) PATH '$.role' ERROR ON ERROR,
           message LONGTEXT PATH '$.message' ERROR ON ERROR)) AS chat
   WHERE b.outcome = 'consumed'
   ORDER BY b.id;

  UPDATE outbox_batch AS b
    STRAIGHT_JOIN agent_outbox_messages AS m FORCE INDEX (PRIMARY) ON m.id = b.id
     SET m.status = 'consumed',
         m.next_retry_at = NULL,
         m.consumed_at = v_now,
         m.updated_at = v_now
   WHERE b.outcome = 'consumed';
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (702, 'V0702__internal_write_chat_histories_v1.sql');
