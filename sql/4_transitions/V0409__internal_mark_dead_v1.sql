SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_mark_dead_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_mark_dead_v1 (
  IN p_id BIGINT UNSIGNED,
  IN p_reason LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_stage ENUM('relay', 'consumer', 'operator') CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_errno INT
)
COMMENT '
outbox_mark_dead_v1, told where the message failed and with which error. That is entered into outbox_failures.
Internal: outbox_mark_dead_v1, outbox_internal_mark_batch_v1, outbox_internal_settle_v1 and the operator''s routines call it.

Parameters
  p_id BIGINT UNSIGNED: the message
  p_reason LONGTEXT: becomes last_error, cut to 2000 characters
  p_stage ENUM(''relay'', ''consumer'', ''operator''): where it failed, as in outbox_failures; NULL: by its status, a pending
    one failed in the relay, a published one in the consumer
  p_errno INT: the number of MySQL''s error; NULL: there is none

Errors
  30004 there is no such message

Transaction: the caller''s.

Example
  mysql> CALL outbox_internal_mark_dead_v1(1, ''user_id must be an integer'', ''consumer'', 30007);
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_now DATETIME(6) DEFAULT UTC_TIMESTAMP(6);
  DECLARE v_stage VARCHAR(8) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;
  DECLARE v_changed INT;

  -- Without a lock: under autocommit it would be given up again, and who waits for it come first.
  SELECT COALESCE(p_stage, IF(MAX(status) = 'published', 'consumer', 'relay'))
    INTO v_stage
    FROM agent_outbox_messages
   WHERE id = p_id;
  UPDATE agent_outbox_messages
     SET status = 'dead',
         next_retry_at = NULL,
         last_error = LEFT(p_reason, 2000),
         updated_at = v_now
   WHERE id = p_id
     AND status IN ('pending', 'published');
  SET v_changed = ROW_COUNT();
  IF v_changed = 0 THEN
    CALL outbox_internal_require_message_v1(p_id);
  ELSE
    CALL outbox_internal_note_failure_v1(p_id, v_now, v_stage, p_errno, p_reason);
    CALL outbox_internal_wake_lanes_v1(JSON_ARRAY(p_id));
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (409, 'V0409__internal_mark_dead_v1.sql');
