SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_consume_alone_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_consume_alone_v1 (
  IN p_messages LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  INOUT p_waits JSON,
  INOUT p_times JSON,
  OUT p_id BIGINT UNSIGNED,
  OUT p_error TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin
)
COMMENT '
Consumes the one message of a batch of one, as most are while there is no backlog: where it is its turn, it has never
failed, nobody has locked it and its handler succeeds. That needs no temporary table, and a third of the server''s time.
Internal: outbox_consume_v1 calls it.

Parameters
  p_messages LONGTEXT: as for outbox_consume_v1, with one element
  INOUT p_waits JSON: {"type": true} where its business type has waited in vain for a lock
  INOUT p_times JSON: {"type": the microseconds of its handler}
  OUT p_id BIGINT UNSIGNED: the message, which is consumed; NULL: something is not as usual, and the caller rolls back and
    begins anew, as with many. A handler that has failed is then called again, unless it has waited for a lock
  OUT p_error TEXT: what is wrong with the handler all the same: it commits by itself; or what it has waited for

Errors
  the server''s own, see outbox_internal_call_handler_v1

Begins a transaction, which the caller ends. Locks the message, then what its handler locks.

Example
  mysql> SET @waits = ''{}'', @times = ''{}'';
  mysql> CALL outbox_internal_consume_alone_v1(''[{"id":1,"created_at":"2026-01-01 12:00:00","topic":"chat","key":"c-1"}]'', @waits, @times, @id, @error);
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_id BIGINT UNSIGNED;
  DECLARE v_biz_type, v_handler VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;
  DECLARE v_partition INT;
  DECLARE v_offset BIGINT;
  DECLARE v_errno INT;
  DECLARE v_lock_wait_timeout INT DEFAULT 1205;
  DECLARE EXIT HANDLER FOR 30009, 30010 SET p_id = NULL;

  SET p_id = NULL, p_error = NULL;
  START TRANSACTION;
  -- What outbox_internal_open_batch_v1 and outbox_internal_defer_v1 ask of a message, with the same indexes.
  SELECT m.id, m.biz_type, t.handler, m.id, m.payload, given.kafka_partition, given.kafka_offset
    INTO v_id, v_biz_type, v_handler, @outbox_id, @outbox_payload, v_partition, v_offset
    FROM JSON_TABLE(p_messages, '$[*]' COLUMNS (
           id BIGINT UNSIGNED PATH '$.id' ERROR ON EMPTY ERROR ON ERROR,
           created_at DATETIME(6) PATH '$.created_at',
           topic VARCHAR(255) PATH '$.topic',
           message_key TEXT PATH '$.key',
           kafka_partition INT PATH '$.partition',
           kafka_offset BIGINT PATH '$.offset')) AS given
    STRAIGHT_JOIN agent_outbox_messages AS m FORCE INDEX (PRIMARY) ON m.id = given.id
    STRAIGHT_JOIN outbox_biz_types AS t ON t.biz_type = m.biz_type
   WHERE m.created_at <=> given.created_at
     AND COALESCE(given.topic, m.topic) = m.topic
     AND COALESCE(given.message_key, m.message_key) = m.message_key
     AND m.status IN ('pending', 'published')
     AND NOT m.is_waiting
     AND m.last_error IS NULL
     AND t.handler IS NOT NULL
     AND (t.ordering = 'none' OR m.id <= LEAST(
       COALESCE((SELECT id FROM agent_outbox_messages FORCE INDEX (outbox_open_lane)
                  WHERE open_lane = m.open_lane AND is_waiting = 0 ORDER BY open_lane, is_waiting, id LIMIT 1), m.id),
       COALESCE((SELECT id FROM agent_outbox_messages FORCE INDEX (outbox_open_lane)
                  WHERE open_lane = m.open_lane AND is_waiting = 1 ORDER BY open_lane, is_waiting, id LIMIT 1), m.id)))
     FOR UPDATE OF m SKIP LOCKED;
  IF v_id IS NOT NULL THEN
    CALL outbox_internal_take_effect_v1(v_id, v_biz_type, v_handler, v_partition, v_offset, p_times, v_errno, p_error);
    SET p_id = IF(v_errno = 0, v_id, NULL);
    IF v_errno = v_lock_wait_timeout THEN
      CALL outbox_internal_note_wait_v1(v_biz_type, v_id, p_error, p_waits);
    END IF;
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (618, 'V0618__internal_consume_alone_v1.sql');
