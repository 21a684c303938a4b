SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_next_turn_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_next_turn_v1 (
  IN p_times JSON,
  IN p_waits JSON,
  INOUT p_turn INT,
  INOUT p_id BIGINT UNSIGNED
)
COMMENT '
Finds the next message of the batch to be handled: by turn, and in each turn the lanes that have few messages first. A
business type whose handler has used its time, or has waited in vain for a lock, is left out: what is still to do of it
is not reached, and nor is what is behind that in its lanes. So a slow business type, or one with a long lane, delays the
others by that time at most.
Internal: outbox_consume_v1 calls it.

Parameters
  p_times JSON: {"type": the microseconds of its handler} in this call: from 5 ms on, no further message of the type is
    handled
  p_waits JSON: {"type": true} of each business type that has waited in vain for a lock in this call
  INOUT p_turn INT: the turn of the message before, 1 at first; comes back as that of the next one
  INOUT p_id BIGINT UNSIGNED: the message before, 0 at first; comes back as the next one, or NULL behind the last

Reads and changes outbox_batch; reads outbox_turns. Transaction: the caller''s.

Example
  mysql> SET @turn = 1, @id = 0;
  mysql> CALL outbox_internal_next_turn_v1(''{"order_placed": 4800}'', ''{}'', @turn, @id);
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_longest_us INT DEFAULT 5000;
  DECLARE v_used_us BIGINT;
  DECLARE v_path VARCHAR(300) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;
  DECLARE v_biz_type VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;
  DECLARE v_left JSON;

  look: LOOP
    SET p_id = NULL;
    -- A message may have been deferred since it got its turn.
    SELECT t.turn, t.id, b.biz_type
      INTO p_turn, p_id, v_biz_type
      FROM outbox_turns AS t FORCE INDEX (PRIMARY)
      STRAIGHT_JOIN outbox_batch AS b ON b.id = t.id AND b.outcome = 'todo'
     WHERE t.turn >= p_turn
     ORDER BY t.turn, t.of_lane, t.id
     LIMIT 1;
    SET v_path = CONCAT('$.', JSON_QUOTE(v_biz_type) COLLATE utf8mb4_0900_bin);
    SET v_used_us = COALESCE(JSON_EXTRACT(p_times, v_path), 0);
    IF p_id IS NULL OR (v_used_us < v_longest_us AND JSON_EXTRACT(p_waits, v_path) IS NULL) THEN
      LEAVE look;
    END IF;
    SELECT JSON_ARRAYAGG(seen.id)
      INTO v_left
      FROM (
        SELECT id, MIN(IF(biz_type = v_biz_type, id, NULL)) OVER (PARTITION BY lane, topic, message_key, IF(lane IS NULL, id, 0)) AS first_left
          FROM outbox_batch
         WHERE outcome = 'todo'
      ) AS seen
     WHERE seen.id >= seen.first_left;
    UPDATE /*+ SET_VAR(sql_safe_updates = 0) */ JSON_TABLE(v_left, '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$')) AS remaining
      STRAIGHT_JOIN outbox_batch AS b ON b.id = remaining.id
       SET b.outcome = 'not reached';
  END LOOP;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (610, 'V0610__internal_next_turn_v1.sql');
