SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_find_time_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_find_time_v1 (
  IN p_at DATETIME(6),
  OUT p_id BIGINT UNSIGNED
)
COMMENT '
Finds the id from which on messages were enqueued at a time or later, by halving: ids ascend with created_at, which no index
has. Two sessions may have taken them in another order within moments, so the caller allows for some.
Internal: outbox_find_v1 calls it.

Parameters
  p_at DATETIME(6): the time, UTC
  OUT p_id BIGINT UNSIGNED: the lowest such id; one beyond the last message where all are older

Reads one message for each halving, 64 at most; transaction: the caller''s.

Example
  mysql> CALL outbox_internal_find_time_v1(UTC_TIMESTAMP(6) - INTERVAL 1 HOUR, @id);
'
SQL SECURITY DEFINER
READS SQL DATA
BEGIN
  DECLARE v_low, v_high, v_middle, v_id BIGINT UNSIGNED;
  DECLARE v_created_at DATETIME(6);

  SELECT COALESCE(MIN(id), 1), COALESCE(MAX(id), 0) + 1 INTO v_low, v_high FROM agent_outbox_messages;
  WHILE v_low < v_high DO
    SET v_middle = v_low + (v_high - v_low) DIV 2;
    SELECT MAX(seen.id), MAX(seen.created_at)
      INTO v_id, v_created_at
      FROM (
        SELECT id, created_at
          FROM agent_outbox_messages FORCE INDEX (PRIMARY)
         WHERE id >= v_middle
         ORDER BY id
         LIMIT 1
      ) AS seen;
    -- What is purged or not committed is a gap: the next message after it decides.
    IF v_id < v_high AND v_created_at < p_at THEN
      SET v_low = v_id + 1;
    ELSE
      SET v_high = v_middle;
    END IF;
  END WHILE;
  SET p_id = v_low;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (906, 'V0906__internal_find_time_v1.sql');
