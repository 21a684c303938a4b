SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_handle_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_handle_v1 (
  IN p_id BIGINT UNSIGNED,
  INOUT p_waits JSON,
  INOUT p_times JSON
)
COMMENT '
Handles one message of the batch: marks it consumed and calls the handler of its business type, both or neither.
Internal: outbox_consume_v1 calls it.

Parameters
  p_id BIGINT UNSIGNED: a message of outbox_batch
  INOUT p_waits JSON: {"type": how many of its messages have waited in vain for a lock}
  INOUT p_times JSON: {"type": the microseconds of its handler} in this call

A handler must not end the transaction. Where it has committed, its message is consumed and last_error says so; where it
has rolled back, the message has failed. A lock that it cannot have (1205) is waited for by this message and its
lane alone, and counts no failure (outbox_internal_set_back_v1). The second message of a business type for which this is so
holds its whole type (outbox_internal_hold_types_v1).

Errors
  30009 the handler has rolled back, or was the victim of a deadlock, and with it all that the batch had done
  30010 it has waited in vain for a lock, and the server has rolled back all (innodb_rollback_on_timeout): its business
    type is held, and the batch begins anew
  the server''s own, see outbox_internal_call_handler_v1

Transaction: the caller''s. Uses the session variables @outbox_id and @outbox_payload.

Example
  mysql> SET @waits = ''{}'', @times = ''{}'';
  mysql> CALL outbox_internal_handle_v1(1, @waits, @times);
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
main: BEGIN
  DECLARE v_now DATETIME(6) DEFAULT UTC_TIMESTAMP(6);
  DECLARE v_biz_type, v_handler VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;
  DECLARE v_has_ended BOOLEAN;
  DECLARE v_partition INT;
  DECLARE v_offset BIGINT;
  DECLARE v_errno INT;
  DECLARE v_deadlock INT DEFAULT 1213;
  DECLARE v_lock_wait_timeout INT DEFAULT 1205;
  DECLARE v_most_waits INT DEFAULT 2;
  DECLARE v_waits INT;
  DECLARE v_path VARCHAR(300) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;
  DECLARE v_no_savepoint INT DEFAULT 1305;
  DECLARE v_error TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;

  SELECT MAX(m.biz_type), MAX(t.handler)
    INTO v_biz_type, v_handler
    FROM agent_outbox_messages AS m FORCE INDEX (PRIMARY)
    LEFT JOIN outbox_biz_types AS t ON t.biz_type = m.biz_type
   WHERE m.id = p_id
     AND m.status IN ('pending', 'published')
     FOR UPDATE OF m;
  IF v_biz_type IS NULL THEN
    -- Only after a handler has committed by itself, and with it given up the lock on this message.
    UPDATE outbox_batch SET outcome = 'duplicate' WHERE id = p_id;
    LEAVE main;
  END IF;

  SELECT id, payload, kafka_partition, kafka_offset INTO @outbox_id, @outbox_payload, v_partition, v_offset FROM outbox_batch WHERE id = p_id;
  SAVEPOINT outbox_handler;
  UPDATE agent_outbox_messages
     SET status = 'consumed',
         next_retry_at = NULL,
         last_error = NULL,
         kafka_partition = COALESCE(v_partition, kafka_partition),
         kafka_offset = COALESCE(v_offset, kafka_offset),
         consumed_at = v_now,
         updated_at = v_now
   WHERE id = p_id;
  CALL outbox_internal_call_handler_v1(v_handler, FALSE, v_errno, v_error, v_has_ended);
  SET v_path = CONCAT('$.', JSON_QUOTE(v_biz_type) COLLATE utf8mb4_0900_bin);
  -- Not what was waited for in vain: that is not the handler's time.
  IF v_errno <> v_lock_wait_timeout THEN
    SET p_times = JSON_SET(p_times, v_path, COALESCE(JSON_EXTRACT(p_times, v_path), 0) + TIMESTAMPDIFF(MICROSECOND, v_now, UTC_TIMESTAMP(6)));
  END IF;
  SET @outbox_payload = NULL;
  IF v_error = '' THEN
    SET v_error = CONCAT('error ', v_errno, ' of handler ', v_handler, ', without a text');
  END IF;

  IF v_has_ended THEN
    COMMIT AND NO CHAIN NO RELEASE;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    START TRANSACTION;
    -- Whether the mark was committed tells a commit from a rollback. Not the row of outbox_batch: another handler of the
    -- batch may have committed that before. An adopted table keeps milliseconds.
    IF NOT EXISTS (
      SELECT 1
        FROM agent_outbox_messages
       WHERE id = p_id
         AND status = 'consumed'
         AND ABS(TIMESTAMPDIFF(MICROSECOND, consumed_at, v_now)) < 1000) THEN
      IF v_errno = v_lock_wait_timeout THEN
        CALL outbox_internal_hold_types_v1(v_biz_type, v_error);
        CALL outbox_internal_raise_v1(30010, v_error);
      END IF;
      CALL outbox_internal_raise_v1(30009, IF(v_errno = v_deadlock, v_error,
        CONCAT('handler ', v_handler, ' rolls back by itself', IF(v_errno = v_no_savepoint, '', CONCAT(': ', v_error)))));
    END IF;
    SET v_error = CONCAT('handler ', v_handler, ' commits by itself: its effect and this mark are not one transaction',
          IF(v_errno = v_no_savepoint, '', CONCAT('; then it fails: ', v_error))),
        v_errno = 0;
    UPDATE agent_outbox_messages SET last_error = v_error WHERE id = p_id;
    -- At once: a handler after this one may roll back, and this message is not looked at again.
    COMMIT AND NO CHAIN NO RELEASE;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    START TRANSACTION;
  END IF;
  IF v_errno = v_lock_wait_timeout THEN
    SET v_waits = COALESCE(JSON_EXTRACT(p_waits, v_path), 0) + 1;
    SET p_waits = JSON_SET(p_waits, v_path, v_waits);
    CALL outbox_internal_set_back_v1(JSON_ARRAY(p_id), v_error);
    IF v_waits >= v_most_waits THEN
      CALL outbox_internal_hold_types_v1(v_biz_type, v_error);
    END IF;
  ELSE
    CALL outbox_internal_settle_v1(p_id, v_errno, v_error);
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (606, 'V0606__internal_handle_v1.sql');
