SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_take_effect_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_take_effect_v1 (
  IN p_id BIGINT UNSIGNED,
  IN p_biz_type VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_handler VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_partition INT,
  IN p_offset BIGINT,
  INOUT p_times JSON,
  OUT p_errno INT,
  OUT p_error TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin
)
COMMENT '
Marks one message consumed and calls the handler of its business type, both or neither.
Internal: outbox_internal_handle_v1 and outbox_internal_consume_alone_v1 call it; they hold the lock on the message.

Parameters
  p_id BIGINT UNSIGNED: a message that is pending or published
  p_biz_type VARCHAR(64): its business type
  p_handler VARCHAR(64): the handler of that
  p_partition INT: where its record is, as the consumer says; NULL: as it is
  p_offset BIGINT: likewise
  INOUT p_times JSON: {"type": the microseconds of its handler} in this call
  OUT p_errno INT: 0 where it has taken effect; otherwise the handler''s error, and nothing is changed
  OUT p_error TEXT: its text; where p_errno is 0, what is wrong with the handler

A handler must not end the transaction. Where it has committed, its message is consumed and last_error says so; where it
has rolled back, the message has failed.

Errors
  30009 the handler has rolled back, or was the victim of a deadlock, and with it all that the batch had done
  30010 it has waited in vain for a lock, and the server has rolled back all (innodb_rollback_on_timeout): its business
    type is held, and the batch begins anew
  the server''s own, see outbox_internal_call_handler_v1

Transaction: the caller''s. Takes the session variables @outbox_id and @outbox_payload.

Example
  mysql> SET @outbox_id = 1, @outbox_payload = ''{"order": 1}'', @times = ''{}'';
  mysql> CALL outbox_internal_take_effect_v1(1, ''order_placed'', ''ship_order'', NULL, NULL, @times, @errno, @error);
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_now DATETIME(6) DEFAULT UTC_TIMESTAMP(6);
  DECLARE v_has_ended BOOLEAN;
  DECLARE v_deadlock INT DEFAULT 1213;
  DECLARE v_lock_wait_timeout INT DEFAULT 1205;
  DECLARE v_no_savepoint INT DEFAULT 1305;
  DECLARE v_waits JSON;
  DECLARE v_path VARCHAR(300) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin DEFAULT CONCAT('$.', JSON_QUOTE(p_biz_type) COLLATE utf8mb4_0900_bin);

  SAVEPOINT outbox_handler;
  UPDATE agent_outbox_messages
     SET status = 'consumed',
         next_retry_at = NULL,
         last_error = NULL,
         kafka_partition = COALESCE(p_partition, kafka_partition),
         kafka_offset = COALESCE(p_offset, kafka_offset),
         published_at = COALESCE(published_at, v_now),
         consumed_at = v_now,
         updated_at = v_now
   WHERE id = p_id;
  CALL outbox_internal_call_handler_v1(p_handler, FALSE, p_errno, p_error, v_has_ended);
  -- Not what was waited for in vain: that is not the handler's time.
  IF p_errno <> v_lock_wait_timeout THEN
    SET p_times = JSON_SET(p_times, v_path, COALESCE(JSON_EXTRACT(p_times, v_path), 0) + TIMESTAMPDIFF(MICROSECOND, v_now, UTC_TIMESTAMP(6)));
  END IF;
  SET @outbox_payload = NULL;
  IF p_error = '' THEN
    SET p_error = CONCAT('error ', p_errno, ' of handler ', p_handler, ', without a text');
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
      IF p_errno = v_lock_wait_timeout THEN
        CALL outbox_internal_note_wait_v1(p_biz_type, NULL, p_error, v_waits);
        CALL outbox_internal_raise_v1(30010, p_error);
      END IF;
      CALL outbox_internal_raise_v1(30009, IF(p_errno = v_deadlock, p_error,
        CONCAT('handler ', p_handler, ' rolls back by itself', IF(p_errno = v_no_savepoint, '', CONCAT(': ', p_error)))));
    END IF;
    SET p_error = CONCAT('handler ', p_handler, ' commits by itself: its effect and this mark are not one transaction',
          IF(p_errno = v_no_savepoint, '', CONCAT('; then it fails: ', p_error))),
        p_errno = 0;
    UPDATE agent_outbox_messages SET last_error = p_error WHERE id = p_id;
    -- At once: a handler after this one may roll back, and this message is not looked at again.
    COMMIT AND NO CHAIN NO RELEASE;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    START TRANSACTION;
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (617, 'V0617__internal_take_effect_v1.sql');
