SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_persist_chat_history_v1;

DELIMITER $$

CREATE PROCEDURE outbox_persist_chat_history_v1 (
  IN p_id BIGINT UNSIGNED,
  IN p_payload LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin
)
COMMENT '
Writes one chat message to chat_histories and marks its outbox message consumed, in one transaction. An id that is
unknown, consumed or dead changes nothing, so that a record may be delivered any number of times.

Parameters
  p_id BIGINT UNSIGNED: the outbox message
  p_payload LONGTEXT: the record''s value, see outbox_internal_write_chat_history_v1

Errors (nothing is written, the message stays as it was)
  30003, 30007 the payload; 30006 called inside a transaction

Called by: consumers of the legacy Go service, one record a call. Owns its transaction (READ COMMITTED).

Example
  mysql> CALL outbox_persist_chat_history_v1(1, ''{"user_id":7,"conversation_id":"c-1","role":"user","message":"hi"}'');
  mysql> SELECT status FROM agent_outbox_messages WHERE id = 1;
  +----------+
  | status   |
  +----------+
  | consumed |
  +----------+
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_id BIGINT UNSIGNED;
  DECLARE v_has_waited BOOLEAN;

  CALL outbox_internal_require_no_transaction_v1('outbox_persist_chat_history_v1');
  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION
    BEGIN
      ROLLBACK AND NO CHAIN NO RELEASE;
      RESIGNAL;
    END;
    START TRANSACTION;
    SELECT MAX(id), MAX(is_waiting) INTO v_id, v_has_waited FROM agent_outbox_messages WHERE id = p_id AND status IN ('pending', 'published') FOR UPDATE;
    IF v_id IS NOT NULL THEN
      CALL outbox_internal_write_chat_history_v1(p_id, p_payload);
      UPDATE agent_outbox_messages
         SET status = 'consumed',
             next_retry_at = NULL,
             last_error = NULL,
             consumed_at = UTC_TIMESTAMP(6),
             updated_at = UTC_TIMESTAMP(6)
       WHERE id = p_id;
      IF v_has_waited THEN
        CALL outbox_internal_wake_lanes_v1(JSON_ARRAY(p_id));
      END IF;
    END IF;
    COMMIT AND NO CHAIN NO RELEASE;
  END;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (705, 'V0705__persist_chat_history_v1.sql');
