SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_handle_in_bulk_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_handle_in_bulk_v1 (
  IN p_batch_handler VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  INOUT p_waits JSON,
  INOUT p_times JSON
)
COMMENT '
Gives the messages of the batch that have this batch handler to it, all at once: the same effect as
outbox_internal_handle_v1 for each, at a fraction of the cost. It lets the batch handler check them first, and withdraws
those that another message of the batch must precede. What it does not take, and all of it where it fails, keeps the
outcome todo: it is handled one by one, where each message finds its own error; after a wait in vain for a lock by the
next call, so that this one waits only once for it.
Internal: outbox_consume_v1 calls it.

Parameters
  p_batch_handler VARCHAR(64): the batch handler
  INOUT p_waits JSON: {"type": true} of each business type that has waited in vain for a lock in this call
  INOUT p_times JSON: {"type": microseconds}: what this took is added to the first of its business types

Errors
  30010 the batch handler has ended the transaction, or was the victim of a deadlock: what the batch had done may be lost
  the server''s own (outbox_internal_call_handler_v1): no message''s trouble

Reads and changes outbox_batch. Transaction: the caller''s. Uses the session variable @outbox_is_check.

Example
  mysql> CALL outbox_internal_handle_in_bulk_v1(''outbox_internal_write_chat_histories_v1'', @waits, @times);
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_now DATETIME(6) DEFAULT UTC_TIMESTAMP(6);
  DECLARE v_errno INT;
  DECLARE v_error TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;
  DECLARE v_text VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;
  DECLARE v_has_ended BOOLEAN;
  DECLARE v_path VARCHAR(300) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;
  DECLARE v_lock_wait_timeout INT DEFAULT 1205;
  DECLARE v_biz_types JSON;

  -- Those of the batch handler before this one are consumed.
  UPDATE /*+ SET_VAR(sql_safe_updates = 0) */ outbox_batch
     SET outcome = IF(outcome = 'todo', 'offered', 'consumed')
   WHERE outcome = 'offered'
      OR (outcome = 'todo' AND batch_handler = p_batch_handler);
  SAVEPOINT outbox_handler;
  SET @outbox_is_check = TRUE;
  CALL outbox_internal_call_handler_v1(p_batch_handler, TRUE, v_errno, v_error, v_has_ended);
  IF v_errno = 0 THEN
    CALL outbox_internal_keep_order_v1();
    SAVEPOINT outbox_handler;
    CALL outbox_internal_accept_arrived_v1('offered');
    SET @outbox_is_check = FALSE;
    CALL outbox_internal_call_handler_v1(p_batch_handler, TRUE, v_errno, v_error, v_has_ended);
  END IF;
  SET v_text = LEFT(v_error, 128);
  SELECT CONCAT('$.', JSON_QUOTE(MIN(biz_type)) COLLATE utf8mb4_0900_bin) INTO v_path FROM outbox_biz_types WHERE batch_handler = p_batch_handler;
  SET p_times = JSON_SET(p_times, v_path, TIMESTAMPDIFF(MICROSECOND, v_now, UTC_TIMESTAMP(6)));
  IF v_has_ended THEN
    CALL outbox_internal_raise_v1(30010, CONCAT('batch handler ', p_batch_handler, ': ', v_text));
  END IF;
  -- The others stay as they are, and count as consumed: to write that into each row would cost as much as to offer it.
  IF v_errno <> 0 THEN
    IF v_errno = v_lock_wait_timeout THEN
      SELECT JSON_ARRAYAGG(waiting.biz_type) INTO v_biz_types FROM (SELECT DISTINCT biz_type FROM outbox_batch WHERE outcome = 'offered') AS waiting;
      WHILE JSON_LENGTH(v_biz_types) > 0 DO
        CALL outbox_internal_note_wait_v1(JSON_UNQUOTE(JSON_EXTRACT(v_biz_types, '$[0]')), 0, v_error, p_waits);
        SET v_biz_types = JSON_REMOVE(v_biz_types, '$[0]');
      END WHILE;
    END IF;
    UPDATE /*+ SET_VAR(sql_safe_updates = 0) */ outbox_batch SET outcome = 'todo' WHERE outcome = 'offered';
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (608, 'V0608__internal_handle_in_bulk_v1.sql');
