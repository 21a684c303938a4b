SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_retry_v1;

DELIMITER $$

CREATE PROCEDURE outbox_retry_v1 (
  IN p_id BIGINT UNSIGNED,
  OUT p_changed INT
)
COMMENT '
Lets a pending message that waits for its time be due now: after a failure, or with a delay. What waits with it in its lane
comes along. Its failures stay counted. Any other message stays as it is.

Parameters
  p_id BIGINT UNSIGNED: the message
  OUT p_changed INT: 1, or 0 if it does not wait for its time

Errors
  30004 there is no such message; 30006 called inside a transaction

Called by: operators. Owns its transaction (READ COMMITTED). Writes to outbox_audit.

Example
  mysql> CALL outbox_retry_v1(7, @changed);
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

  CALL outbox_internal_require_no_transaction_v1('outbox_retry_v1');
  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION
    BEGIN
      ROLLBACK AND NO CHAIN NO RELEASE;
      RESIGNAL;
    END;
    START TRANSACTION;
    CALL outbox_internal_require_message_v1(p_id);
    CALL outbox_internal_hasten_v1(JSON_ARRAY(p_id), p_changed);
    IF p_changed > 0 THEN
      CALL outbox_internal_audit_v1('retry', JSON_OBJECT('id', p_id, 'messages', p_changed), v_audit_id);
    END IF;
    COMMIT AND NO CHAIN NO RELEASE;
  END;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (814, 'V0814__retry_v1.sql');
