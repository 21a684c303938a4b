SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_call_handler_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_call_handler_v1 ()
COMMENT '
Calls the handler of one message, as outbox_internal_handle_v1 has prepared it.
Internal: a routine of its own, because outbox_internal_handle_v1 must catch a handler''s unhandled NOT FOUND, which is an error,
and not the one that a SELECT ... INTO without a row leaves behind, which is a warning: this one forgets the latter.

Transaction: the caller''s. Reads the session variables @outbox_id and @outbox_payload.

Example
  mysql> CALL outbox_internal_call_handler_v1();
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  EXECUTE outbox_call USING @outbox_id, @outbox_payload;
  DO 0;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (604, 'V0604__internal_call_handler_v1.sql');
