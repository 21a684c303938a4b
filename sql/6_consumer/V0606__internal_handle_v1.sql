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
  INOUT p_waits JSON: {"type": true} of each business type that has waited in vain for a lock in this call
  INOUT p_times JSON: {"type": the microseconds of its handler} in this call

A lock that the handler cannot have (1205) is waited for by this message and its lane alone, and counts no failure
(outbox_internal_set_back_v1). The call handles no other message of its business type, so that it waits only once for
it. Where a second message waits, too, its whole type is held (outbox_internal_note_wait_v1).

Errors
  those of outbox_internal_take_effect_v1

Transaction: the caller''s. Uses the session variables @outbox_id and @outbox_payload.

Example
  mysql> SET @waits = ''{}'', @times = ''{}'';
  mysql> CALL outbox_internal_handle_v1(1, @waits, @times);
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
main: BEGIN
  DECLARE v_biz_type, v_handler VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;
  DECLARE v_partition INT;
  DECLARE v_offset BIGINT;
  DECLARE v_errno INT;
  DECLARE v_lock_wait_timeout INT DEFAULT 1205;
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
  CALL outbox_internal_take_effect_v1(p_id, v_biz_type, v_handler, v_partition, v_offset, p_times, v_errno, v_error);
  IF v_errno = v_lock_wait_timeout THEN
    CALL outbox_internal_note_wait_v1(v_biz_type, p_id, v_error, p_waits);
    CALL outbox_internal_set_back_v1(JSON_ARRAY(p_id), v_error);
    CALL outbox_internal_hold_types_v1();
  ELSE
    CALL outbox_internal_settle_v1(p_id, v_errno, v_error);
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (606, 'V0606__internal_handle_v1.sql');
