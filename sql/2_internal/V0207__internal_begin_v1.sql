SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_begin_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_begin_v1 (
  OUT p_is_own BOOLEAN
)
COMMENT '
Begins a transaction, READ COMMITTED, where the session is under autocommit and has none; otherwise does nothing.
Internal: for routines whose locks must outlast a statement, whether the caller has a transaction or not.

Parameters
  OUT p_is_own BOOLEAN: whether it has begun one, which the calling routine has to end

Transaction: leaves its own open.

Example
  mysql> CALL outbox_internal_begin_v1(@is_own);
'
SQL SECURITY DEFINER
NO SQL
BEGIN
  -- 1568: the isolation level cannot be changed while a transaction is in progress.
  DECLARE EXIT HANDLER FOR 1568 SET p_is_own = FALSE;
  SET p_is_own = @@autocommit;
  IF p_is_own THEN
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    START TRANSACTION;
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (207, 'V0207__internal_begin_v1.sql');
