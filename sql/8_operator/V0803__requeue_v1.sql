SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_requeue_v1;

DELIMITER $$

CREATE PROCEDURE outbox_requeue_v1 (
  IN p_id BIGINT UNSIGNED,
  OUT p_changed INT
)
COMMENT '
Brings a dead letter back to pending: due now, with retry_count 0. A message in any other status stays as it is.
last_error is kept until the next failure.

Parameters
  p_id BIGINT UNSIGNED: the message
  OUT p_changed INT: 1, or 0 if it was not dead

Errors
  30004 there is no such message; 30006 called inside a transaction

Order: the later messages of its topic and key did not wait for it while it was dead. It takes effect after those that
are consumed by now.

Called by: operators. Owns its transaction (READ COMMITTED). Writes to outbox_audit.

Example
  mysql> CALL outbox_requeue_v1(7, @changed);
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
  DECLARE v_now DATETIME(6) DEFAULT UTC_TIMESTAMP(6);
  DECLARE v_audit_id BIGINT UNSIGNED;

  CALL outbox_internal_require_no_transaction_v1('outbox_requeue_v1');
  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION
    BEGIN
      ROLLBACK AND NO CHAIN NO RELEASE;
      RESIGNAL;
    END;
    START TRANSACTION;
    UPDATE agent_outbox_messages
       SET status = 'pending',
           retry_count = 0,
           next_retry_at = v_now,
           updated_at = v_now
     WHERE id = p_id
       AND status = 'dead';
    SET p_changed = ROW_COUNT();
    IF p_changed > 0 THEN
      CALL outbox_internal_audit_v1('requeue', JSON_OBJECT('id', p_id, 'messages', p_changed), v_audit_id);
    ELSE
      CALL outbox_internal_require_message_v1(p_id);
    END IF;
    COMMIT AND NO CHAIN NO RELEASE;
  END;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (803, 'V0803__requeue_v1.sql');
