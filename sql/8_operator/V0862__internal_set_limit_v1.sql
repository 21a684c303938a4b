SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_set_limit_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_set_limit_v1 (
  IN p_limit VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_bytes BIGINT,
  IN p_default BIGINT,
  IN p_least BIGINT
)
COMMENT '
Sets one of the limits of an installation, which are columns of outbox_installation.
Internal: outbox_set_transaction_bytes_v1 and outbox_set_max_payload_bytes_v1 call it.

Parameters
  p_limit VARCHAR(64): transaction_bytes or max_payload_bytes
  p_bytes BIGINT: its value, from p_least to 1073741824 (1 GiB); NULL: p_default
  p_default BIGINT: in bytes
  p_least BIGINT: in bytes

Result set: bytes, and changed, which is 0 if nothing changed.

Errors
  30005 p_bytes is out of range; 30006 called inside a transaction

Owns its transaction (READ COMMITTED). Writes to outbox_audit if it changes something.

Example
  mysql> CALL outbox_internal_set_limit_v1(''transaction_bytes'', 8388608, 33554432, 1048576);
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_most_bytes BIGINT DEFAULT 1073741824;
  DECLARE v_bytes BIGINT DEFAULT COALESCE(p_bytes, p_default);
  DECLARE v_before BIGINT;
  DECLARE v_audit_id BIGINT UNSIGNED;

  IF v_bytes NOT BETWEEN p_least AND v_most_bytes THEN
    CALL outbox_internal_raise_v1(30005, CONCAT('p_bytes ', v_bytes, ' is not within ', p_least, ' and ', v_most_bytes));
  END IF;
  CALL outbox_internal_require_no_transaction_v1(CONCAT('outbox_set_', p_limit, '_v1'));
  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION
    BEGIN
      ROLLBACK AND NO CHAIN NO RELEASE;
      RESIGNAL;
    END;
    START TRANSACTION;
    SELECT MAX(IF(p_limit = 'transaction_bytes', transaction_bytes, max_payload_bytes)) INTO v_before FROM outbox_installation FOR UPDATE;
    IF v_before <> v_bytes THEN
      UPDATE /*+ SET_VAR(sql_safe_updates = 0) */ outbox_installation
         SET transaction_bytes = IF(p_limit = 'transaction_bytes', v_bytes, transaction_bytes),
             max_payload_bytes = IF(p_limit = 'max_payload_bytes', v_bytes, max_payload_bytes);
      CALL outbox_internal_audit_v1(CONCAT('set_', p_limit), JSON_OBJECT('before', v_before, 'after', v_bytes), v_audit_id);
    END IF;
    COMMIT AND NO CHAIN NO RELEASE;
  END;
  SELECT v_bytes AS bytes, COALESCE(v_before <> v_bytes, FALSE) AS changed;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (862, 'V0862__internal_set_limit_v1.sql');
