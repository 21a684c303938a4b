SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_lane_v1;

DELIMITER $$

CREATE PROCEDURE outbox_lane_v1 (
  IN p_topic TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_message_key TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_limit INT
)
COMMENT '
Shows a lane: the messages of one topic and key that are not final, in the order in which they take effect, and what each
waits for. The first one is the head.

Parameters
  p_topic TEXT: the topic
  p_message_key TEXT: the key
  p_limit INT: rows at most; NULL or 0: 100

Result set: id, biz_type, status, retry_count, max_retry, next_retry_at, last_error, created_at, published_at; behind, how
many of the lane come after it; waits, a sentence that says why it has not gone on. No rows where nothing is open.

Errors
  30005 p_limit is negative

Called by: operators. Reads only, the messages of the lane; transaction: the caller''s.

Example
  mysql> CALL outbox_lane_v1(''chat'', ''c-1'', 10);
  +----+-----+---------+-----+--------+------------------------------------------------------------------+
  | id | ... | status  | ... | behind | waits                                                            |
  +----+-----+---------+-----+--------+------------------------------------------------------------------+
  |  7 |     | pending |     |     12 | has failed 4 times, is tried again at 2026-01-01 12:00:08        |
  |  9 |     | pending |     |     11 | waits for message 7                                              |
  +----+-----+---------+-----+--------+------------------------------------------------------------------+
'
SQL SECURITY DEFINER
READS SQL DATA
BEGIN
  DECLARE v_now DATETIME(6) DEFAULT UTC_TIMESTAMP(6);
  DECLARE v_limit INT DEFAULT COALESCE(NULLIF(p_limit, 0), 100);
  DECLARE v_slot INT DEFAULT CRC32(p_message_key) % 64;
  DECLARE v_relay VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;

  IF v_limit < 0 THEN
    CALL outbox_internal_raise_v1(30005, CONCAT('p_limit must not be negative: ', p_limit));
  END IF;
  SELECT MAX(s.relay)
    INTO v_relay
    FROM outbox_slots AS s
    JOIN outbox_internal_live_relays AS r ON r.relay = s.relay
   WHERE s.slot = v_slot;
  SELECT /*+ SET_VAR(sql_big_selects = 1) */
         l.id, l.biz_type, l.status, l.retry_count, l.max_retry, l.next_retry_at, l.last_error, l.created_at, l.published_at, l.behind,
         CASE
           WHEN l.is_ordered AND l.id > l.head_id THEN CONCAT('waits for message ', l.head_id)
           WHEN l.status = 'published' THEN CONCAT('was sent at ', LEFT(l.published_at, 19), ' and is not consumed yet')
           WHEN p.kind = 'trouble' THEN CONCAT('Kafka takes no records for its topic: ', COALESCE(p.reason, ''))
           WHEN p.kind IS NOT NULL THEN CONCAT('its ', IF(p.kind = 'topic', 'topic', 'business type'), ' is paused since ', LEFT(p.paused_at, 19), ' by ', p.paused_by)
           WHEN l.next_retry_at > v_now AND l.retry_count > 0 THEN CONCAT('has failed ', l.retry_count, ' times, is tried again at ', LEFT(l.next_retry_at, 19))
           WHEN l.next_retry_at > v_now AND l.last_error IS NOT NULL THEN CONCAT('is sent again at ', LEFT(l.next_retry_at, 19), ': ', LEFT(l.last_error, 200))
           WHEN l.next_retry_at > v_now THEN CONCAT('is not due before ', LEFT(l.next_retry_at, 19))
           WHEN v_relay IS NULL THEN CONCAT('is due, and nobody relays its slot ', v_slot)
           ELSE CONCAT('is due: ', v_relay, ' sends it next')
         END AS waits
    FROM (
      SELECT m.id, m.biz_type, m.topic, m.status, m.retry_count, m.max_retry, m.next_retry_at, m.last_error, m.created_at, m.published_at,
             COALESCE(t.ordering, 'key') = 'key' AS is_ordered,
             COUNT(*) OVER () - ROW_NUMBER() OVER (ORDER BY m.id) AS behind,
             MIN(IF(COALESCE(t.ordering, 'key') = 'key', m.id, NULL)) OVER () AS head_id
        FROM agent_outbox_messages AS m FORCE INDEX (outbox_open_lane)
        LEFT JOIN outbox_biz_types AS t ON t.biz_type = m.biz_type
       WHERE m.open_lane = CRC32(CONCAT(p_topic, ':', p_message_key))
         AND m.topic = p_topic
         AND m.message_key = p_message_key
    ) AS l
    LEFT JOIN outbox_pauses AS p ON p.id = (
      SELECT MIN(q.id)
        FROM outbox_pauses AS q
       WHERE q.resumed_at IS NULL
         AND ((q.kind IN ('topic', 'trouble') AND q.name = l.topic) OR (q.kind = 'biz_type' AND q.name = l.biz_type)))
   ORDER BY l.id
   LIMIT v_limit;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (908, 'V0908__lane_v1.sql');
