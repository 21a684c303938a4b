SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_set_back_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_set_back_v1 (
  IN p_ids JSON,
  IN p_error TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin
)
COMMENT '
Sets messages back whose handler waits for a lock: they go back to pending, and what is behind them in their lanes with
them. No failure is counted, for who holds the lock is no fault of the message. They are sent again after a quarter of
their age, from 1 to 32 seconds: trying them costs the others the time that a lock is waited for.
Internal: outbox_consume_v1, outbox_internal_handle_v1 and outbox_internal_hold_types_v1 call it.

Parameters
  p_ids JSON: array of the messages'' ids, ascending; those in the batch that are still to do are set back
  p_error TEXT: becomes their last_error, and their error in outbox_batch

Reads and changes outbox_batch. Transaction: the caller''s.

Example
  mysql> CALL outbox_internal_set_back_v1(''[1, 2]'', ''Lock wait timeout exceeded; try restarting transaction'');
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_now DATETIME(6) DEFAULT UTC_TIMESTAMP(6);
  DECLARE v_shortest_wait_seconds INT DEFAULT 1;
  DECLARE v_longest_wait_seconds INT DEFAULT 32;
  DECLARE v_at INT DEFAULT 0;
  DECLARE v_heads JSON;

  UPDATE /*+ SET_VAR(sql_safe_updates = 0) */ JSON_TABLE(p_ids, '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$')) AS waiting
    STRAIGHT_JOIN outbox_batch AS b ON b.id = waiting.id AND b.outcome = 'todo'
    STRAIGHT_JOIN agent_outbox_messages AS m FORCE INDEX (PRIMARY)
       ON m.id = waiting.id AND m.status IN ('pending', 'published')
     SET b.outcome = 'deferred',
         b.error = LEFT(CONCAT('waits for a lock: ', p_error), 2000),
         m.status = 'pending',
         m.next_retry_at = v_now + INTERVAL LEAST(v_longest_wait_seconds,
           GREATEST(v_shortest_wait_seconds, TIMESTAMPDIFF(SECOND, COALESCE(m.created_at, v_now), v_now) DIV 4)) SECOND,
         m.last_error = LEFT(CONCAT('waits for a lock: ', p_error), 2000),
         m.updated_at = v_now;
  -- Their followers: in the batch, then those that were sent and are not in it.
  CALL outbox_internal_defer_v1(NULL);
  SELECT JSON_ARRAYAGG(first_of_lane.id)
    INTO v_heads
    FROM (
      SELECT MIN(b.id) AS id
        FROM JSON_TABLE(p_ids, '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$')) AS waiting
        STRAIGHT_JOIN outbox_batch AS b ON b.id = waiting.id
       WHERE b.lane IS NOT NULL
       GROUP BY b.lane, b.topic, b.message_key
    ) AS first_of_lane;
  WHILE v_at < COALESCE(JSON_LENGTH(v_heads), 0) DO
    CALL outbox_internal_requeue_followers_v1(JSON_EXTRACT(v_heads, CONCAT('$[', v_at, ']')));
    SET v_at = v_at + 1;
  END WHILE;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (615, 'V0615__internal_set_back_v1.sql');
