SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_take_turns_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_take_turns_v1 ()
COMMENT '
Gives every message of the batch that is still to do its turn among those of its lane, so that handlers run for the
first of each lane, then for the second of each. A message without order has the first turn. The turns stand in the
session''s temporary table outbox_turns.
Internal: outbox_consume_v1 calls it.

Reads outbox_batch; makes outbox_turns. Transaction: the caller''s.

Example
  mysql> CALL outbox_internal_take_turns_v1();
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_few INT DEFAULT 50;

  -- As outbox_internal_open_batch_v1 does.
  IF @outbox_turns_rows <= v_few THEN
    DELETE /*+ SET_VAR(sql_safe_updates = 0) */ FROM outbox_turns;
  ELSE
    SET @outbox_turns_rows = NULL;
    DROP TEMPORARY TABLE IF EXISTS outbox_turns;
    CREATE TEMPORARY TABLE outbox_turns (
      turn    INT NOT NULL,
      id      BIGINT UNSIGNED NOT NULL,
      last_id BIGINT UNSIGNED NOT NULL COMMENT 'the last one to do of its lane',
      of_lane INT NOT NULL COMMENT 'how many its lane has to do',
      PRIMARY KEY (turn, of_lane, id),
      UNIQUE KEY (id)
    ) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;
  END IF;
  INSERT INTO outbox_turns (turn, id, last_id, of_lane)
  SELECT ROW_NUMBER() OVER (each_lane ORDER BY id), id, MAX(id) OVER each_lane, COUNT(*) OVER each_lane
    FROM outbox_batch
   WHERE outcome = 'todo'
  WINDOW each_lane AS (PARTITION BY lane, topic, message_key, IF(lane IS NULL, id, 0));
  SET @outbox_turns_rows = ROW_COUNT();
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (609, 'V0609__internal_take_turns_v1.sql');
