SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_settle_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_settle_v1 (
  IN p_id BIGINT UNSIGNED,
  IN p_errno INT,
  IN p_error TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin
)
COMMENT '
Settles what the handler of a message has left: the message stays consumed, or has failed, or is dead, and its outcome
stands in outbox_batch. Where it has failed, its later messages in the batch are deferred behind it.
Internal: outbox_internal_handle_v1 calls it.

A message goes dead at once where the handler rejects its payload with error 30003 or 30007: it can never succeed. Every
other error is retried with backoff.

Parameters
  p_id BIGINT UNSIGNED: a message of outbox_batch
  p_errno INT: the handler''s error; 0: none
  p_error TEXT: its text

Transaction: the caller''s.

Example
  mysql> CALL outbox_internal_settle_v1(1, 1062, ''Duplicate entry'');
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_outcome VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin DEFAULT 'consumed';

  IF p_errno <> 0 THEN
    IF p_errno IN (30003, 30007) THEN
      CALL outbox_internal_mark_dead_v1(p_id, p_error, 'consumer', p_errno);
    ELSE
      CALL outbox_internal_mark_failed_v1(p_id, p_error, 'consumer', p_errno);
    END IF;
    SELECT IF(status = 'pending', 'failed', status) INTO v_outcome FROM agent_outbox_messages WHERE id = p_id;
  END IF;
  UPDATE outbox_batch SET outcome = v_outcome, error = p_error WHERE id = p_id;
  IF v_outcome = 'failed' THEN
    CALL outbox_internal_defer_v1(p_id);
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (605, 'V0605__internal_settle_v1.sql');
