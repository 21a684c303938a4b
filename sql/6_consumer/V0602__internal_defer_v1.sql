SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_defer_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_defer_v1 (
  IN p_id BIGINT UNSIGNED
)
COMMENT '
Defers the messages of the batch that have come before their turn: behind an earlier message of their lane that is
pending or published and not in the batch. They go back to pending, to be sent again: right behind a pending one, and
behind a published one after as long as that has been under way already, from 1 to 32 seconds.
Internal: outbox_consume_v1 calls it, and outbox_internal_settle_v1 after a failure inside the batch.

Parameters
  p_id BIGINT UNSIGNED: a message that has failed, to look at its lane alone; NULL: all lanes of the batch

Reads and changes outbox_batch; reads outbox_turns. Transaction: the caller''s.

Example
  mysql> CALL outbox_internal_defer_v1(NULL);
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_now DATETIME(6) DEFAULT UTC_TIMESTAMP(6);
  DECLARE v_before_setback DATETIME(6) DEFAULT v_now + INTERVAL 1 MINUTE;
  DECLARE v_shortest_wait_seconds INT DEFAULT 1;
  DECLARE v_longest_wait_seconds INT DEFAULT 32;
  DECLARE v_most INT;
  -- Where to look, and before which message: [[lane, topic, message_key, last_id], ...].
  DECLARE v_lanes, v_earlier, v_first_open JSON;
  DECLARE v_is_cut_off BOOLEAN;

  IF p_id IS NOT NULL THEN
    SELECT JSON_ARRAYAGG(JSON_ARRAY(b.lane, b.topic, b.message_key, t.last_id)), COALESCE(MAX(t.of_lane), 0) + 1
      INTO v_lanes, v_most
      FROM outbox_batch AS b
      JOIN outbox_turns AS t ON t.id = b.id
     WHERE b.id = p_id
       AND t.last_id > p_id
       AND b.lane IS NOT NULL;
  ELSE
    -- Most often nothing is earlier. The index alone tells: the first open messages of a lane, as many as the batch has of
    -- it, are those of the batch. No more of it is read, because a lane may be long.
    SELECT COALESCE(MAX(messages), 0) + 1
      INTO v_most
      FROM (
        SELECT COUNT(*) AS messages
          FROM outbox_batch
         WHERE outcome = 'todo' AND lane IS NOT NULL
         GROUP BY lane
      ) AS lanes;
    SELECT JSON_ARRAYAGG(JSON_ARRAY(in_batch.lane, in_batch.topic, in_batch.message_key, in_batch.last_id))
      INTO v_lanes
      FROM (
        SELECT lane, topic, message_key, MAX(id) AS last_id, COUNT(*) AS messages
          FROM outbox_batch
         WHERE outcome = 'todo' AND lane IS NOT NULL
         GROUP BY lane, topic, message_key
      ) AS in_batch
     WHERE in_batch.messages <> (
       SELECT COUNT(*)
         FROM (
           (SELECT id
              FROM agent_outbox_messages FORCE INDEX (outbox_open_lane)
             WHERE open_lane = in_batch.lane
               AND is_waiting = 0
             ORDER BY open_lane, is_waiting, id
             LIMIT v_most)
            UNION ALL
           (SELECT id
              FROM agent_outbox_messages FORCE INDEX (outbox_open_lane)
             WHERE open_lane = in_batch.lane
               AND is_waiting = 1
             ORDER BY open_lane, is_waiting, id
             LIMIT v_most)
         ) AS first_open
        WHERE first_open.id <= in_batch.last_id);
  END IF;

  IF v_lanes IS NOT NULL THEN
    -- The first of the queue and the first of those that wait, each among as many as may be in the batch, and more only where
    -- they tell nothing: a lane may be long.
    widen: LOOP
      SELECT JSON_ARRAYAGG(JSON_ARRAY(l.lane, l.topic, l.message_key, earlier.id)), MAX(earlier.is_cut_off)
        INTO v_earlier, v_is_cut_off
        FROM JSON_TABLE(v_lanes, '$[*]' COLUMNS (
               lane INT UNSIGNED PATH '$[0]',
               topic VARCHAR(255) PATH '$[1]',
               message_key VARCHAR(255) PATH '$[2]',
               last_id BIGINT UNSIGNED PATH '$[3]')) AS l
        CROSS JOIN (SELECT 0 AS is_waiting UNION ALL SELECT 1) AS part
        CROSS JOIN LATERAL (
          SELECT MIN(m.id) AS id, MIN(m.id) IS NULL AND COUNT(*) = v_most AND MAX(entry.id) < l.last_id AS is_cut_off
            FROM (
              SELECT id
                FROM agent_outbox_messages FORCE INDEX (outbox_open_lane)
               WHERE open_lane = l.lane
                 AND is_waiting = part.is_waiting
               ORDER BY open_lane, is_waiting, id
               LIMIT v_most
            ) AS entry
            LEFT JOIN outbox_batch AS b ON b.id = entry.id AND b.outcome = 'todo'
            LEFT JOIN agent_outbox_messages AS m FORCE INDEX (PRIMARY)
              ON m.id = entry.id
             AND m.id < l.last_id
             AND m.topic = l.topic
             AND m.message_key = l.message_key
             AND b.id IS NULL
             AND NOT EXISTS (SELECT 1 FROM outbox_biz_types AS t WHERE t.biz_type = m.biz_type AND t.ordering = 'none')
        ) AS earlier;
      IF NOT v_is_cut_off THEN
        LEAVE widen;
      END IF;
      SET v_most = v_most * 8;
    END LOOP;
    -- Never the same time again: next_retry_at is the receipt by which a late mark of the relay is checked. An earlier
    -- message that was written in the future was written before the clock was set back, and so was the time it waits for.
    SELECT JSON_ARRAYAGG(JSON_ARRAY(open.lane, open.topic, open.message_key, open.id,
             IF(earlier.status = 'pending',
                GREATEST(IF(earlier.updated_at > v_before_setback, v_now, COALESCE(earlier.next_retry_at, v_now)), v_now) + INTERVAL 1 MICROSECOND,
                v_now + INTERVAL LEAST(v_longest_wait_seconds, GREATEST(v_shortest_wait_seconds, TIMESTAMPDIFF(SECOND, COALESCE(earlier.published_at, earlier.created_at), v_now))) SECOND)))
      INTO v_first_open
      FROM (
        SELECT e.lane, e.topic, e.message_key, MIN(e.id) AS id
          FROM JSON_TABLE(v_earlier, '$[*]' COLUMNS (
                 lane INT UNSIGNED PATH '$[0]',
                 topic VARCHAR(255) PATH '$[1]',
                 message_key VARCHAR(255) PATH '$[2]',
                 id BIGINT UNSIGNED PATH '$[3]')) AS e
         GROUP BY e.lane, e.topic, e.message_key
      ) AS open
      STRAIGHT_JOIN agent_outbox_messages AS earlier FORCE INDEX (PRIMARY) ON earlier.id = open.id;
  END IF;

  IF v_first_open IS NOT NULL THEN
    UPDATE /*+ SET_VAR(sql_safe_updates = 0) */ JSON_TABLE(v_first_open, '$[*]' COLUMNS (
             lane INT UNSIGNED PATH '$[0]',
             topic VARCHAR(255) PATH '$[1]',
             message_key VARCHAR(255) PATH '$[2]',
             id BIGINT UNSIGNED PATH '$[3]',
             due_at DATETIME(6) PATH '$[4]')) AS first_open
      STRAIGHT_JOIN outbox_batch AS b
         ON b.lane = first_open.lane
        AND b.topic = first_open.topic
        AND b.message_key = first_open.message_key
        AND b.id > first_open.id
        AND b.outcome = 'todo'
      -- A handler that commits by itself gives up the locks, and another consumer may have consumed it meanwhile.
      STRAIGHT_JOIN agent_outbox_messages AS m FORCE INDEX (PRIMARY)
         ON m.id = b.id AND m.status IN ('pending', 'published')
       SET b.outcome = 'deferred',
           b.error = CONCAT('waits for message ', first_open.id),
           m.status = 'pending',
           m.next_retry_at = first_open.due_at,
           m.updated_at = v_now;
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (602, 'V0602__internal_defer_v1.sql');
