SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_take_turns_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_take_turns_v1 ()
COMMENT '
Gives every message of the batch that is still to do its turn among those of its lane, so that handlers run for the
first of each lane, then for the second of each. A message without order has the first turn.
Internal: outbox_consume_v1 calls it.

Reads and changes outbox_batch. Transaction: the caller''s.

Example
  mysql> CALL outbox_internal_take_turns_v1();
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_turns JSON;

  SELECT JSON_ARRAYAGG(JSON_ARRAY(todo.id, todo.turn, todo.last_id))
    INTO v_turns
    FROM (
      SELECT id, ROW_NUMBER() OVER (each_lane ORDER BY id) AS turn, MAX(id) OVER each_lane AS last_id
        FROM outbox_batch
       WHERE outcome = 'todo'
      WINDOW each_lane AS (PARTITION BY lane, topic, message_key, IF(lane IS NULL, id, 0))
    ) AS todo;
  UPDATE /*+ SET_VAR(sql_safe_updates = 0) */ JSON_TABLE(COALESCE(v_turns, '[]'), '$[*]' COLUMNS (
           id BIGINT UNSIGNED PATH '$[0]',
           turn INT PATH '$[1]',
           last_id BIGINT UNSIGNED PATH '$[2]')) AS todo
    STRAIGHT_JOIN outbox_batch AS b ON b.id = todo.id
     SET b.turn = todo.turn,
         b.last_id = todo.last_id;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (609, 'V0609__internal_take_turns_v1.sql');
