SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_call_handler_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_call_handler_v1 (
  IN p_handler VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_is_batch BOOLEAN,
  OUT p_errno INT,
  OUT p_error TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  OUT p_has_ended BOOLEAN
)
COMMENT '
Calls a handler, or a batch handler. An error undoes all that was done since the savepoint outbox_handler, which the
caller has set. A handler that ends the transaction by itself is found out by the lost savepoint.
Internal: outbox_internal_handle_v1 and outbox_internal_handle_in_bulk_v1 call it.

Parameters
  p_handler VARCHAR(64): the procedure''s name, of outbox_biz_types
  p_is_batch BOOLEAN: whether it is a batch handler, which takes @outbox_is_check; else it takes @outbox_id and
    @outbox_payload
  OUT p_errno INT: the error''s number; 0: there was none
  OUT p_error TEXT: its text
  OUT p_has_ended BOOLEAN: whether the transaction has ended, by the handler or as the victim of a deadlock

Errors
  the server''s own (outbox_internal_judge_error_v1): they count against no message, so the caller gets them as they are

Transaction: the caller''s. Uses the session variables @outbox_call, @outbox_id, @outbox_payload and @outbox_is_check.

Example
  mysql> CALL outbox_internal_call_handler_v1(''ship_order_v1'', FALSE, @errno, @error, @has_ended);
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_is_servers, v_is_too_large BOOLEAN DEFAULT FALSE;
  DECLARE v_sqlstate CHAR(5) CHARACTER SET utf8mb4;

  -- A session that keeps no errors would hide them from the handler below, and a message that has failed would pass.
  IF @@max_error_count = 0 THEN
    SET SESSION max_error_count = DEFAULT;
  END IF;
  SET p_errno = 0, p_error = NULL, p_has_ended = FALSE;
  SET @outbox_call = CONCAT('CALL `', REPLACE(p_handler, '`', '``'), IF(p_is_batch, '`(@outbox_is_check)', '`(@outbox_id, @outbox_payload)'));
  BEGIN
    -- NOT FOUND: an unhandled FETCH beyond the end is an error of no SQLEXCEPTION's class.
    DECLARE EXIT HANDLER FOR SQLEXCEPTION, NOT FOUND
    BEGIN
      DECLARE CONTINUE HANDLER FOR 1305 SET p_has_ended = TRUE;
      GET STACKED DIAGNOSTICS CONDITION 1 p_errno = MYSQL_ERRNO, p_error = MESSAGE_TEXT, v_sqlstate = RETURNED_SQLSTATE;
      -- 45000: a handler's own SIGNAL, whatever number it has chosen.
      IF v_sqlstate <> '45000' THEN
        CALL outbox_internal_judge_error_v1(p_errno, v_is_servers, v_is_too_large);
        IF v_is_servers THEN
          RESIGNAL;
        END IF;
      END IF;
      ROLLBACK TO SAVEPOINT outbox_handler;
    END;
    -- Here, too, an error may be the message's (there is no such handler) or the server's (max_prepared_stmt_count).
    PREPARE outbox_call FROM @outbox_call;
    CALL outbox_internal_execute_handler_v1();
    RELEASE SAVEPOINT outbox_handler;
  END;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (604, 'V0604__internal_call_handler_v1.sql');
