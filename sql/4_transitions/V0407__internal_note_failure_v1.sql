SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_note_failure_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_note_failure_v1 (
  IN p_id BIGINT UNSIGNED,
  IN p_at DATETIME(6),
  IN p_stage ENUM('relay', 'consumer', 'operator') CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_errno INT,
  IN p_error LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin
)
COMMENT '
Enters a failure of a message into outbox_failures. Of more than the message''s max_retry, the oldest are deleted.
Internal: the transitions to failed and dead call it, behind the change of the message, whose lock they hold.

Parameters
  p_id BIGINT UNSIGNED: the message
  p_at DATETIME(6): when it failed, UTC
  p_stage ENUM(''relay'', ''consumer'', ''operator''): where it failed
  p_errno INT: the number of MySQL''s error; NULL: there is none
  p_error LONGTEXT: its text, cut to 2000 characters

Transaction: the caller''s. The session''s LAST_INSERT_ID() stays as it was.

Example
  mysql> CALL outbox_internal_note_failure_v1(1, UTC_TIMESTAMP(6), ''consumer'', 1062, ''Duplicate entry'');
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_default_max_retry INT DEFAULT 20;
  DECLARE v_failure, v_most BIGINT;

  -- Without a lock: a locking read of where the next row goes would lock the gap for all other messages.
  SELECT COALESCE(MAX(failure), 0) + 1
    INTO v_failure
    FROM outbox_failures
   WHERE message_id = p_id;
  -- A duplicate: the snapshot of the caller is older than another session that failed it.
  INSERT INTO outbox_failures (message_id, failure, at, stage, errno, error)
  VALUES (p_id, v_failure, p_at, p_stage, NULLIF(p_errno, 0), LEFT(p_error, 2000))
  ON DUPLICATE KEY UPDATE
    at = VALUES(at), stage = VALUES(stage), errno = VALUES(errno), error = VALUES(error);
  SELECT COALESCE(MAX(t.max_retry), MAX(NULLIF(GREATEST(m.max_retry, 0), 0)), v_default_max_retry)
    INTO v_most
    FROM agent_outbox_messages AS m
    LEFT JOIN outbox_biz_types AS t ON t.biz_type = m.biz_type
   WHERE m.id = p_id;
  IF v_failure > v_most THEN
    DELETE FROM outbox_failures WHERE message_id = p_id AND failure <= v_failure - v_most;
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (407, 'V0407__internal_note_failure_v1.sql');
