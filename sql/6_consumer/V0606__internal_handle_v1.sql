SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_handle_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_handle_v1 (
  IN p_id BIGINT UNSIGNED,
  IN p_last_id BIGINT UNSIGNED
)
COMMENT '
Handles one message of the batch: marks it consumed and calls the handler of its business type, both or neither. An
error of the handler is the message''s failure; where its later messages of topic and key are in the batch, they are
deferred behind it.
Internal: outbox_consume_v1 calls it.

Parameters
  p_id BIGINT UNSIGNED: a message of outbox_batch
  p_last_id BIGINT UNSIGNED: the last message of its topic and key there, itself if there is none behind it

A message goes dead at once where its business type is not registered, and where the handler refuses the very payload
that the outbox holds with error 30003 or 30007: neither can ever succeed. Every other error is retried with backoff.
A handler that ends the transaction by itself is found out by the lost savepoint. Where it has committed, its message
is consumed and last_error says so; where it has rolled back, the message has failed.

Errors
  30009 the handler has rolled back, or was the victim of a deadlock, and with it all that the batch had done
  1317: the server''s trouble, not the message''s. A lock that the handler cannot have (1205, 1213) is the message''s own
    failure: another''s transaction must not stop those behind it

Transaction: the caller''s. Uses the session variables @outbox_call, @outbox_id and @outbox_payload.

Example
  mysql> CALL outbox_internal_handle_v1(1, 1);
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
main: BEGIN
  DECLARE v_now DATETIME(6) DEFAULT UTC_TIMESTAMP(6);
  DECLARE v_biz_type VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;
  DECLARE v_handler VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;
  DECLARE v_outcome VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;
  DECLARE v_error TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;
  DECLARE v_errno INT DEFAULT 0;
  DECLARE v_lanes JSON;
  DECLARE v_genuine, v_ended BOOLEAN DEFAULT FALSE;

  SELECT MAX(m.biz_type), MAX(b.handler), MAX(b.payload <=> m.payload)
    INTO v_biz_type, v_handler, v_genuine
    FROM outbox_batch AS b
    STRAIGHT_JOIN agent_outbox_messages AS m FORCE INDEX (PRIMARY) ON m.id = b.id
   WHERE b.id = p_id
     AND m.status IN ('pending', 'published')
     FOR UPDATE OF m;

  IF v_biz_type IS NULL THEN
    -- Only after a handler has committed by itself, and with it given up the lock on this message.
    UPDATE outbox_batch SET outcome = 'duplicate' WHERE id = p_id;
    LEAVE main;
  END IF;
  IF v_handler IS NULL THEN
    CALL outbox_mark_dead_v1(p_id, CONCAT('biz_type ', v_biz_type, ' is not registered in outbox_biz_types'));
    UPDATE outbox_batch SET outcome = 'dead', error = CONCAT('biz_type ', v_biz_type, ' is not registered in outbox_biz_types') WHERE id = p_id;
    LEAVE main;
  END IF;

  SELECT CONCAT('CALL `', REPLACE(v_handler, '`', '``'), '`(?, ?)'), p_id, payload
    INTO @outbox_call, @outbox_id, @outbox_payload
    FROM outbox_batch
   WHERE id = p_id;
  BEGIN
    -- The server's trouble, not a message's: the whole batch is to be tried again.
    DECLARE EXIT HANDLER FOR 1317
      RESIGNAL;
    -- All that the batch had done is undone. Without this message it may go on; one whose handler deadlocks every time
    -- must not stop those behind it.
    DECLARE EXIT HANDLER FOR 1213
    BEGIN
      GET STACKED DIAGNOSTICS CONDITION 1 v_error = MESSAGE_TEXT;
      CALL outbox_internal_raise_v1(30009, v_error);
    END;
    -- NOT FOUND: an unhandled FETCH beyond the end is an error of no SQLEXCEPTION's class.
    DECLARE EXIT HANDLER FOR SQLEXCEPTION, NOT FOUND
    BEGIN
      DECLARE CONTINUE HANDLER FOR 1305 SET v_ended = TRUE;
      GET STACKED DIAGNOSTICS CONDITION 1 v_errno = MYSQL_ERRNO, v_error = MESSAGE_TEXT;
      IF v_error = '' THEN
        SET v_error = CONCAT('error ', v_errno, ' of handler ', v_handler, ', without a text');
      END IF;
      ROLLBACK TO SAVEPOINT outbox_handler;
    END;
    SAVEPOINT outbox_handler;
    UPDATE agent_outbox_messages
       SET status = 'consumed',
           next_retry_at = NULL,
           consumed_at = v_now,
           updated_at = v_now
     WHERE id = p_id;
    PREPARE outbox_call FROM @outbox_call;
    CALL outbox_internal_call_handler_v1();
    RELEASE SAVEPOINT outbox_handler;
  END;
  SET @outbox_payload = NULL;

  IF v_ended THEN
    COMMIT;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    START TRANSACTION;
    -- Not the row of outbox_batch: another handler of the batch may have committed that before.
    -- An adopted table keeps milliseconds.
    IF NOT EXISTS (
      SELECT 1
        FROM agent_outbox_messages
       WHERE id = p_id
         AND status = 'consumed'
         AND ABS(TIMESTAMPDIFF(MICROSECOND, consumed_at, v_now)) < 1000) THEN
      CALL outbox_internal_raise_v1(30009, CONCAT('handler ', v_handler, ' rolls back by itself', IF(v_errno = 1305, '', CONCAT(': ', v_error))));
    END IF;
    SET v_outcome = 'consumed',
        v_error = CONCAT('handler ', v_handler, ' commits by itself: its effect and this mark are not one transaction',
          IF(v_errno IN (0, 1305), '', CONCAT('; then it fails: ', v_error)));
    UPDATE agent_outbox_messages SET last_error = v_error WHERE id = p_id;
    -- At once: a handler after this one may roll back, and this message is not looked at again.
    COMMIT;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    START TRANSACTION;
  ELSEIF v_errno = 0 THEN
    SET v_outcome = 'consumed';
  ELSE
    IF v_genuine AND v_errno IN (30003, 30007) THEN
      CALL outbox_mark_dead_v1(p_id, v_error);
    ELSE
      CALL outbox_mark_failed_v1(p_id, v_error);
    END IF;
    SELECT IF(status = 'pending', 'failed', status) INTO v_outcome FROM agent_outbox_messages WHERE id = p_id;
  END IF;
  UPDATE outbox_batch SET outcome = v_outcome, error = v_error WHERE id = p_id;
  IF v_outcome = 'failed' AND p_last_id > p_id THEN
    SELECT JSON_ARRAYAGG(JSON_ARRAY(lane, topic, message_key, p_last_id))
      INTO v_lanes
      FROM outbox_batch
     WHERE id = p_id AND lane IS NOT NULL;
    CALL outbox_internal_defer_v1(v_lanes);
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (606, 'V0606__internal_handle_v1.sql');
