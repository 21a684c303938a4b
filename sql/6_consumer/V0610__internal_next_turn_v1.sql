SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_next_turn_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_next_turn_v1 (
  IN p_deadline DATETIME(6),
  INOUT p_id BIGINT UNSIGNED
)
COMMENT '
Finds the next message of the batch to be handled, by turn and id. Where the deadline has passed no new turn begins:
what is still to do is not reached.
Internal: outbox_consume_v1 calls it.

Parameters
  p_deadline DATETIME(6): until when a new turn may begin
  INOUT p_id BIGINT UNSIGNED: the message before; comes back as the next one. NULL: before the first, behind the last

Reads and changes outbox_batch. Transaction: the caller''s.

Example
  mysql> SET @id = NULL;
  mysql> CALL outbox_internal_next_turn_v1(UTC_TIMESTAMP(6), @id);
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_turn, v_next_turn INT DEFAULT 1;
  DECLARE v_last_id BIGINT UNSIGNED DEFAULT COALESCE(p_id, 0);

  SELECT COALESCE(MAX(turn), 1) INTO v_turn FROM outbox_batch WHERE id = v_last_id;
  SET p_id = NULL;
  -- A message may have been deferred since it got its turn.
  SELECT id, turn
    INTO p_id, v_next_turn
    FROM outbox_batch FORCE INDEX (turn)
   WHERE (turn > v_turn OR (turn = v_turn AND id > v_last_id))
     AND outcome = 'todo'
   ORDER BY turn, id
   LIMIT 1;
  IF v_next_turn > v_turn AND UTC_TIMESTAMP(6) > p_deadline THEN
    UPDATE /*+ SET_VAR(sql_safe_updates = 0) */ outbox_batch SET outcome = 'not reached' WHERE outcome = 'todo';
    SET p_id = NULL;
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (610, 'V0610__internal_next_turn_v1.sql');
