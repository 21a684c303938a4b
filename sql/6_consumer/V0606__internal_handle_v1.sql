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

A lock that the handler cannot have (1205) is waited for by this message and its lane alone, and counts no failure
(outbox_internal_set_back_v1). The second message of a business type for which this is so holds its whole type
(outbox_internal_hold_types_v1).

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
  DECLARE v_most_waits INT DEFAULT 2;
  DECLARE v_waits INT;
  DECLARE v_path VARCHAR(300) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;
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
    SET v_path = CONCAT('$.', JSON_QUOTE(v_biz_type) COLLATE utf8mb4_0900_bin);
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
