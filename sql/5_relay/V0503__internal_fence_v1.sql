SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_fence_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_fence_v1 (
  IN p_relay VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  OUT p_slots BIGINT UNSIGNED
)
COMMENT '
The fence: tells which slots a relay owns under a live lease, and keeps them from changing hands until the transaction
ends.
Internal: outbox_internal_mark_batch_v1 calls it.

Parameters
  p_relay VARCHAR(128): the relay
  OUT p_slots BIGINT UNSIGNED: one bit a slot

Transaction: the caller''s; takes shared locks on the relay''s slots.

Example
  mysql> CALL outbox_internal_fence_v1(''relay-a'', @slots);
'
SQL SECURITY DEFINER
READS SQL DATA
BEGIN
  SELECT COALESCE(BIT_OR(1 << s.slot), 0)
    INTO p_slots
    FROM outbox_slots AS s
   WHERE s.relay = p_relay
     AND EXISTS (SELECT 1 FROM outbox_internal_live_relays AS l WHERE l.relay = p_relay)
     FOR SHARE OF s;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (503, 'V0503__internal_fence_v1.sql');
