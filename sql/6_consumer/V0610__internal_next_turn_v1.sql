SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_next_turn_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_next_turn_v1 (
  IN p_deadline DATETIME(6),
  INOUT p_turn INT,
  INOUT p_id BIGINT UNSIGNED
)
COMMENT '
Finds the next message of the batch to be handled, by turn and id. Where the deadline has passed no new turn begins:
what is still to do is not reached.
Internal: outbox_consume_v1 calls it.

Parameters
  p_deadline DATETIME(6): until when a new turn may begin
  INOUT p_turn INT: the turn of the message before, 1 at first; comes back as that of the next one
  INOUT p_id BIGINT UNSIGNED: the message before, 0 at first; comes back as the next one, or NULL behind the last

Reads and changes outbox_batch; reads outbox_turns. Transaction: the caller''s.

Example
  mysql> SET @turn = 1, @id = 0;
  mysql> CALL outbox_internal_next_turn_v1(UTC_TIMESTAMP(6), @turn, @id);
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_turn INT DEFAULT p_turn;
  DECLARE v_id BIGINT UNSIGNED DEFAULT p_id;

  SET p_id = NULL;
  -- A message may have been deferred since it got its turn.
  SELECT t.turn, t.id
    INTO p_turn, p_id
    FROM outbox_turns AS t FORCE INDEX (PRIMARY)
    STRAIGHT_JOIN outbox_batch AS b ON b.id = t.id AND b.outcome = 'todo'
   WHERE t.turn > v_turn OR (t.turn = v_turn AND t.id > v_id)
   ORDER BY t.turn, t.id
   LIMIT 1;
  IF p_turn > v_turn AND UTC_TIMESTAMP(6) > p_deadline THEN
    UPDATE /*+ SET_VAR(sql_safe_updates = 0) */ outbox_batch SET outcome = 'not reached' WHERE outcome = 'todo';
    SET p_id = NULL;
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (610, 'V0610__internal_next_turn_v1.sql');
