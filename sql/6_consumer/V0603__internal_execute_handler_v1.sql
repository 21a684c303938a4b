SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_execute_handler_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_execute_handler_v1 ()
COMMENT '
Executes the call of a handler that outbox_internal_call_handler_v1 has prepared.
Internal: a routine of its own, because the caller must catch the NOT FOUND that a handler leaves unhandled after a
FETCH, which is an error, and must not see the one that a SELECT ... INTO without a row leaves behind, which is a
warning: the last statement here clears it.

Transaction: the caller''s.

Example
  mysql> CALL outbox_internal_execute_handler_v1();
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  EXECUTE outbox_call;
  DO 0;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (603, 'V0603__internal_execute_handler_v1.sql');
