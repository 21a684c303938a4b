SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_give_up_v1;

DELIMITER $$

CREATE PROCEDURE outbox_give_up_v1 (
  IN p_id BIGINT UNSIGNED,
  IN p_reason TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  OUT p_changed INT
)
COMMENT '
Gives a message up: pending or published to dead, so that what waits behind it in its lane goes on. last_error keeps why it
had failed. A message that is consumed or dead stays as it is.

Parameters
  p_id BIGINT UNSIGNED: the message
  p_reason TEXT: why, for last_error and the audit; NULL: not said
  OUT p_changed INT: 1, or 0 if it was consumed or dead

Errors
  30004 there is no such message; 30006 called inside a transaction

outbox_requeue_v1 brings it back. If its record is consumed later all the same, it has no effect.

Called by: operators. Owns its transaction (READ COMMITTED). Writes to outbox_audit.

Example
  mysql> CALL outbox_give_up_v1(7, ''the order was cancelled'', @changed);
  mysql> SELECT last_error FROM agent_outbox_messages WHERE id = 7;
  +-----------------------------------------------------------------+
  | last_error                                                      |
  +-----------------------------------------------------------------+
  | given up (the order was cancelled): chat_histories is read only |
  +-----------------------------------------------------------------+
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_audit_id BIGINT UNSIGNED;

  CALL outbox_internal_require_no_transaction_v1('outbox_give_up_v1');
  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION
    BEGIN
      ROLLBACK AND NO CHAIN NO RELEASE;
      RESIGNAL;
    END;
    START TRANSACTION;
    SELECT COUNT(*)
      INTO p_changed
      FROM agent_outbox_messages
     WHERE id = p_id
       AND status IN ('pending', 'published')
       FOR UPDATE;
    IF p_changed > 0 THEN
      CALL outbox_internal_give_up_v1(p_id, p_reason);
      CALL outbox_internal_audit_v1('give_up', JSON_OBJECT('id', p_id, 'reason', p_reason, 'messages', p_changed), v_audit_id);
    ELSE
      CALL outbox_internal_require_message_v1(p_id);
    END IF;
    COMMIT AND NO CHAIN NO RELEASE;
  END;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (816, 'V0816__give_up_v1.sql');
