SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_store_received_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_store_received_v1 (
  OUT p_is_stored BOOLEAN
)
COMMENT '
Stores received records as messages that are published already; one whose value cannot be a payload as a dead letter.
Internal: outbox_receive_v1 calls it, for what stands in the session''s temporary table outbox_received with outcome new.

MySQL gives ids out in blocks, and an id that stays unused holds claims up: see outbox_internal_enqueue_set_v1.

Parameters
  OUT p_is_stored BOOLEAN: FALSE: another session has stored one of the records since the caller looked, who must roll back

Transaction: the caller''s. Locks: the rows of the dedup keys, in the order of the keys.

Example
  mysql> CALL outbox_internal_store_received_v1(@is_stored);
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_now DATETIME(6) DEFAULT UTC_TIMESTAMP(6);
  DECLARE v_last_insert_id BIGINT UNSIGNED DEFAULT LAST_INSERT_ID();
  DECLARE v_first_id BIGINT UNSIGNED;
  DECLARE v_most_divided INT DEFAULT 127;
  DECLARE v_at, v_given, v_size INT DEFAULT 0;
  DECLARE v_positions, v_part JSON;

  SET p_is_stored = TRUE;
  SELECT JSON_ARRAYAGG(new_one.position), COUNT(*)
    INTO v_positions, v_given
    FROM (SELECT r.position FROM outbox_received AS r WHERE r.outcome = 'new' ORDER BY r.position LIMIT 1000000) AS new_one;
  WHILE v_at < v_given DO
    SET v_size = IF(v_given > v_most_divided, v_given, (1 << FLOOR(LOG2(v_given - v_at + 1))) - 1);
    SET v_part = JSON_EXTRACT(v_positions, CONCAT('$[', v_at, ' to ', v_at + v_size - 1, ']'));
    INSERT INTO agent_outbox_messages
      (biz_type, topic, message_key, payload, headers, origin, dedup_key, status, retry_count, max_retry, next_retry_at, last_error,
       published_at, created_at, updated_at)
    SELECT r.biz_type, r.topic, r.message_key, IF(r.is_text, JSON_QUOTE(r.payload), r.payload), r.headers, r.origin, r.dedup_key,
           IF(r.error IS NULL, 'published', 'dead'), 0, 20, NULL,
           CONCAT(r.error, ', record ', r.origin->>'$.topic', '[', r.origin->>'$.partition', ']@', r.origin->>'$.offset'), v_now, v_now, v_now
      FROM JSON_TABLE(v_part, '$[*]' COLUMNS (position INT PATH '$')) AS part
      STRAIGHT_JOIN outbox_received AS r ON r.position = part.position
     ORDER BY part.position;
    SET v_first_id = COALESCE(v_first_id, LAST_INSERT_ID()), v_at = v_at + v_size;
  END WHILE;
  DO LAST_INSERT_ID(v_last_insert_id);
  IF v_first_id IS NOT NULL THEN
    BEGIN
      DECLARE EXIT HANDLER FOR 1048 SET p_is_stored = FALSE;
      -- The column refuses NULL, which a key gets that has its message already.
      INSERT INTO outbox_dedup_keys (dedup_key, message_id, created_at)
      SELECT /*+ SET_VAR(sql_big_selects = 1) */ m.dedup_key, m.id, v_now
        FROM agent_outbox_messages AS m FORCE INDEX (PRIMARY)
        STRAIGHT_JOIN outbox_received AS r FORCE INDEX (dedup_key) ON r.dedup_key = m.dedup_key AND r.outcome = 'new'
       WHERE m.id >= v_first_id
       ORDER BY m.dedup_key
      ON DUPLICATE KEY UPDATE message_id = IF(outbox_dedup_keys.message_id = 0, m.id, NULL);
    END;
    IF p_is_stored AND EXISTS (SELECT 1 FROM outbox_received WHERE outcome = 'new' AND error IS NOT NULL) THEN
      INSERT INTO outbox_failures (message_id, failure, at, stage, errno, error)
      SELECT /*+ SET_VAR(sql_big_selects = 1) */ m.id, 1, v_now, 'consumer', NULL, m.last_error
        FROM agent_outbox_messages AS m FORCE INDEX (PRIMARY)
        STRAIGHT_JOIN outbox_received AS r FORCE INDEX (dedup_key) ON r.dedup_key = m.dedup_key AND r.outcome = 'new'
       WHERE m.id >= v_first_id
         AND r.error IS NOT NULL
       ORDER BY m.id;
    END IF;
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (622, 'V0622__internal_store_received_v1.sql');
