SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_mark_dead_batch_v1;

DELIMITER $$

CREATE PROCEDURE outbox_mark_dead_batch_v1 (
  IN p_relay VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_messages LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  OUT p_marked INT
)
COMMENT '
outbox_mark_dead_v1 for many messages at once, fenced: only where the relay still owns the message''s slot under
a live lease, and only for the claim that handed the message out. Everything else stays as it is.

Parameters
  p_relay VARCHAR(128): the relay
  p_messages LONGTEXT: JSON array of {"id", "receipt", "reason"}: id and receipt as outbox_claim_v1 returned them,
    by ascending id; reason becomes last_error
  OUT p_marked INT: how many messages changed

Errors
  30003 p_messages is not JSON

Called by: relays, for records that Kafka refuses for their own sake. Transaction: the caller''s, who must have one,
READ COMMITTED: the fence is shared locks on the relay''s slots, which under autocommit end before the mark begins.

Example
  mysql> CALL outbox_mark_dead_batch_v1(''relay-a'',
      ->   ''[{"id":1,"receipt":"2026-01-01 12:00:00.123456","reason":"message too large"}]'', @marked);
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_slots BIGINT UNSIGNED;

  IF NOT COALESCE(JSON_VALID(p_messages), FALSE) THEN
    CALL outbox_internal_raise_v1(30003, CONCAT('p_messages is not valid JSON: ', COALESCE(LEFT(p_messages, 80), 'NULL')));
  END IF;
  CALL outbox_internal_fence_v1(p_relay, v_slots);
  UPDATE JSON_TABLE(p_messages, '$[*]' COLUMNS (
           id BIGINT UNSIGNED PATH '$.id',
           receipt DATETIME(6) PATH '$.receipt',
           reason LONGTEXT PATH '$.reason')) AS refused
    STRAIGHT_JOIN agent_outbox_messages AS m FORCE INDEX (PRIMARY) ON m.id = refused.id
     SET m.status = 'dead',
         m.next_retry_at = NULL,
         m.last_error = LEFT(refused.reason, 2000),
         m.updated_at = UTC_TIMESTAMP(6)
   WHERE m.status = 'pending'
     AND m.next_retry_at <=> refused.receipt
     AND v_slots >> (CRC32(m.message_key) % 64) & 1;
  SET p_marked = ROW_COUNT();
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (524, 'V0524__mark_dead_batch_v1.sql');
