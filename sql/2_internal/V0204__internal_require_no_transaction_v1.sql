SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_require_no_transaction_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_require_no_transaction_v1 (
  IN p_routine VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin
)
COMMENT '
Raises an error if the session is inside a transaction: the routine that calls this owns its transactions, and would
commit the caller''s. Makes the next transaction READ COMMITTED.
Internal: the routines that own their transactions call it.

Parameters
  p_routine VARCHAR(64): the routine that was called, for the message

Errors
  30006 the session is inside a transaction

Example
  mysql> START TRANSACTION; INSERT INTO orders (customer) VALUES (''Ada'');
  mysql> CALL outbox_internal_require_no_transaction_v1(''outbox_claim_v1'');
  ERROR 30006 (45000): outbox_claim_v1 owns its transactions: call it outside of one
'
SQL SECURITY DEFINER
NO SQL
BEGIN
  -- 1568: the isolation level cannot be changed while a transaction is in progress.
  DECLARE EXIT HANDLER FOR 1568
    CALL outbox_internal_raise_v1(30006, CONCAT(p_routine, ' owns its transactions: call it outside of one'));
  SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (204, 'V0204__internal_require_no_transaction_v1.sql');
