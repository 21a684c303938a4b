SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_discard_v1;

DELIMITER $$

CREATE PROCEDURE outbox_discard_v1 (
  IN p_id BIGINT UNSIGNED,
  OUT p_changed INT
)
COMMENT '
Deletes a dead letter for good. A message in any other status stays as it is. outbox_audit keeps which one it was and
why it died, not its payload. If Kafka delivers it later, it is unknown and has no effect.

Parameters
  p_id BIGINT UNSIGNED: the message
  OUT p_changed INT: 1, or 0 if it was not dead

Errors
  30004 there is no such message; 30006 called inside a transaction

Called by: operators. Owns its transaction (READ COMMITTED). Writes to outbox_audit.

Example
  mysql> CALL outbox_discard_v1(7, @changed);
  mysql> SELECT @changed;
  +----------+
  | @changed |
  +----------+
  |        1 |
  +----------+
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_audit_id BIGINT UNSIGNED;
  DECLARE v_discarded JSON;

  CALL outbox_internal_require_no_transaction_v1('outbox_discard_v1');
  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION
    BEGIN
      ROLLBACK AND NO CHAIN NO RELEASE;
      RESIGNAL;
    END;
    START TRANSACTION;
    SELECT JSON_ARRAYAGG(JSON_OBJECT('id', id, 'biz_type', biz_type, 'topic', topic, 'message_key', message_key, 'last_error', last_error))
      INTO v_discarded
      FROM agent_outbox_messages
     WHERE id = p_id
       AND status = 'dead'
       FOR UPDATE;
    DELETE FROM agent_outbox_messages
     WHERE id = p_id
       AND status = 'dead';
    SET p_changed = ROW_COUNT();
    IF p_changed > 0 THEN
      CALL outbox_internal_forget_failures_v1(JSON_ARRAY(p_id));
      CALL outbox_internal_audit_v1('discard', JSON_OBJECT('id', p_id, 'messages', p_changed, 'discarded', v_discarded), v_audit_id);
    ELSE
      CALL outbox_internal_require_message_v1(p_id);
    END IF;
    COMMIT AND NO CHAIN NO RELEASE;
  END;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (805, 'V0805__discard_v1.sql');
