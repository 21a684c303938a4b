SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_find_v1;

DELIMITER $$

CREATE PROCEDURE outbox_find_v1 (
  IN p_topic TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_biz_type TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_message_key TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_status VARCHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_from_id BIGINT UNSIGNED,
  IN p_to_id BIGINT UNSIGNED,
  IN p_from_at DATETIME(6),
  IN p_to_at DATETIME(6),
  IN p_is_newest_first BOOLEAN,
  IN p_past_id BIGINT UNSIGNED,
  IN p_limit INT,
  OUT p_reached_id BIGINT UNSIGNED
)
COMMENT '
Finds messages by any of these, one page a call, without their payloads (outbox_get_v1 returns a whole message).

Parameters
  p_topic TEXT: only this topic; NULL: any
  p_biz_type TEXT: only this business type; NULL: any
  p_message_key TEXT: only this key; NULL: any
  p_status VARCHAR(32): pending, published, consumed or dead; NULL: any
  p_from_id BIGINT UNSIGNED: only from this message on; NULL: from the first
  p_to_id BIGINT UNSIGNED: only up to this message; NULL: to the last
  p_from_at DATETIME(6): only what was enqueued at this time or later, UTC; NULL: any
  p_to_at DATETIME(6): only what was enqueued before this time, UTC; NULL: any
  p_is_newest_first BOOLEAN: from the highest id down; else from the lowest up
  p_past_id BIGINT UNSIGNED: p_reached_id of the call before; NULL: from the beginning
  p_limit INT: rows at most, up to 10000; NULL or 0: 100
  OUT p_reached_id BIGINT UNSIGNED: how far it has looked: there may be more beyond, for the next call; NULL: it has seen all

Result set, in that order: id, biz_type, topic, message_key, status, retry_count, max_retry, next_retry_at, last_error,
published_at, consumed_at, created_at, updated_at. It may have fewer rows than p_limit, or none, though p_reached_id is
given.

Errors
  30005 p_limit is out of range

Called by: operators. Reads only; transaction: the caller''s.

Cost: never more than 100000 messages a call. Open messages of a topic and key are found by outbox_open_lane, open
and dead ones by idx_outbox_status_next; the first 100000 of a status, where it has more. All others are looked for among
the ids and times that are asked for, 100000 at a time: that is where p_reached_id matters.

Example
  mysql> CALL outbox_find_v1(''chat'', NULL, ''c-1'', NULL, NULL, NULL, NULL, NULL, TRUE, NULL, 2, @reached);
'
SQL SECURITY DEFINER
READS SQL DATA
BEGIN
  DECLARE v_limit INT DEFAULT COALESCE(NULLIF(p_limit, 0), 100);
  DECLARE v_most INT DEFAULT 100000;
  -- Ids and times ascend together but for moments, see outbox_internal_find_time_v1.
  DECLARE v_moment INT DEFAULT 60;
  DECLARE v_low BIGINT UNSIGNED DEFAULT COALESCE(p_from_id, 0);
  DECLARE v_high BIGINT UNSIGNED DEFAULT COALESCE(p_to_id, 18446744073709551615);
  DECLARE v_seen INT DEFAULT 0;
  DECLARE v_last, v_bound BIGINT UNSIGNED;
  DECLARE v_ids JSON;

  IF v_limit NOT BETWEEN 1 AND 10000 THEN
    CALL outbox_internal_raise_v1(30005, CONCAT('p_limit must be from 0 to 10000: ', p_limit));
  END IF;
  IF p_from_at IS NOT NULL THEN
    CALL outbox_internal_find_time_v1(p_from_at - INTERVAL v_moment SECOND, v_bound);
    SET v_low = GREATEST(v_low, v_bound);
  END IF;
  IF p_to_at IS NOT NULL THEN
    CALL outbox_internal_find_time_v1(p_to_at + INTERVAL v_moment SECOND, v_bound);
    SET v_high = LEAST(v_high, v_bound);
  END IF;
  IF p_past_id IS NOT NULL AND p_is_newest_first THEN
    SET v_high = LEAST(v_high, IF(p_past_id = 0, 0, p_past_id - 1));
  ELSEIF p_past_id IS NOT NULL THEN
    SET v_low = GREATEST(v_low, p_past_id + 1);
  END IF;

  IF p_status IN ('pending', 'published') AND p_topic IS NOT NULL AND p_message_key IS NOT NULL THEN
    SELECT JSON_ARRAYAGG(part.id), COUNT(*)
      INTO v_ids, v_seen
      FROM (
        SELECT id
          FROM agent_outbox_messages FORCE INDEX (outbox_open_lane)
         WHERE open_lane = CRC32(CONCAT(p_topic, ':', p_message_key))
           AND id BETWEEN v_low AND v_high
         ORDER BY IF(p_is_newest_first, NULL, id), id DESC
         LIMIT v_most
      ) AS part;
  ELSEIF p_status IN ('pending', 'published', 'dead') THEN
    SELECT JSON_ARRAYAGG(part.id), COUNT(*)
      INTO v_ids, v_seen
      FROM (
        SELECT id
          FROM agent_outbox_messages FORCE INDEX (idx_outbox_status_next)
         WHERE status = p_status
           AND id BETWEEN v_low AND v_high
           AND (p_topic IS NULL OR topic = p_topic)
           AND (p_biz_type IS NULL OR biz_type = p_biz_type)
         ORDER BY IF(p_is_newest_first, NULL, id), id DESC
         LIMIT v_most
      ) AS part;
  ELSE
    -- Only as many as are shown, where each of them is.
    IF COALESCE(p_status, p_topic, p_biz_type, p_message_key) IS NULL AND COALESCE(p_from_at, p_to_at) IS NULL THEN
      SET v_most = v_limit;
    END IF;
    IF p_is_newest_first THEN
      SELECT JSON_ARRAYAGG(part.id), COUNT(*)
        INTO v_ids, v_seen
        FROM (SELECT id FROM agent_outbox_messages FORCE INDEX (PRIMARY) WHERE id BETWEEN v_low AND v_high ORDER BY id DESC LIMIT v_most) AS part;
    ELSE
      SELECT JSON_ARRAYAGG(part.id), COUNT(*)
        INTO v_ids, v_seen
        FROM (SELECT id FROM agent_outbox_messages FORCE INDEX (PRIMARY) WHERE id BETWEEN v_low AND v_high ORDER BY id LIMIT v_most) AS part;
    END IF;
  END IF;

  SET v_last = JSON_EXTRACT(v_ids, '$[last]');
  SELECT JSON_ARRAYAGG(found.id)
    INTO v_ids
    FROM (
      SELECT m.id
        FROM JSON_TABLE(COALESCE(v_ids, '[]'), '$[*]' COLUMNS (place FOR ORDINALITY, id BIGINT UNSIGNED PATH '$')) AS part
        STRAIGHT_JOIN agent_outbox_messages AS m FORCE INDEX (PRIMARY) ON m.id = part.id
       WHERE (p_status IS NULL OR m.status = p_status)
         AND (p_topic IS NULL OR m.topic = p_topic)
         AND (p_biz_type IS NULL OR m.biz_type = p_biz_type)
         AND (p_message_key IS NULL OR m.message_key = p_message_key)
         AND (p_from_at IS NULL OR m.created_at >= p_from_at)
         AND (p_to_at IS NULL OR m.created_at < p_to_at)
       ORDER BY part.place
       LIMIT v_limit
    ) AS found;
  SET p_reached_id = CASE
    WHEN JSON_LENGTH(v_ids) = v_limit THEN JSON_EXTRACT(v_ids, '$[last]')
    WHEN v_seen = v_most THEN v_last
  END;
  SELECT m.id, m.biz_type, m.topic, m.message_key, m.status, m.retry_count, m.max_retry, m.next_retry_at, m.last_error, m.published_at,
         m.consumed_at, m.created_at, m.updated_at
    FROM JSON_TABLE(COALESCE(v_ids, '[]'), '$[*]' COLUMNS (place FOR ORDINALITY, id BIGINT UNSIGNED PATH '$')) AS found
    STRAIGHT_JOIN agent_outbox_messages AS m FORCE INDEX (PRIMARY) ON m.id = found.id
   ORDER BY found.place;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (907, 'V0907__find_v1.sql');
