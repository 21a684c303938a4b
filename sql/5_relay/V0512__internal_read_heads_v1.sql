SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_read_heads_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_read_heads_v1 (
  IN p_relay VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_limit INT,
  IN p_owned INT,
  IN p_after BIGINT UNSIGNED,
  IN p_to BIGINT UNSIGNED,
  IN p_policies JSON,
  OUT p_heads JSON
)
COMMENT '
Reads the heads: the first messages of the queues of the relay''s slots, in id order, and what each has to wait for. It sees
rows whose transaction has not committed yet, which lets outbox_internal_hold_back_v1 hold back their followers.
Internal: outbox_internal_examine_v1 calls it.

A message has to wait while its topic or business type is paused, or its topic in trouble, and while an earlier one of its
lane is waiting outside of the queue (unless one of the two has ordering none). Where the queue is not read from its
beginning, a message also waits while an earlier one of its lane is in the part that is left out.

Parameters
  p_relay VARCHAR(128): the relay
  p_limit INT: messages at most; of more, those with the lowest ids
  p_owned INT: how many slots the relay owns
  p_after BIGINT UNSIGNED: reads behind this id, row by row; 0: reads from the beginning, where each slot gives its first
  p_to BIGINT UNSIGNED: the last id to read
  p_policies JSON: {"topics": {name: id, ...}, "troubles": {...}, "biz_types": {...}, "probes": [id of a message, ...],
    "unordered": [biz_type, ...]} of what is paused, which messages are let through to try their topic, and which types have
    ordering none; NULL: none of it
  OUT p_heads JSON: [[id, lane, waits_for, slot], ...] in any order; lane is the hash that open_lane holds, or null where
    the type has ordering none; waits_for is the id of a pause, or 1 for an earlier message of the lane that waits, or 0 for one that was left out, or null; NULL: there
    is nothing

Owns its transaction (READ UNCOMMITTED); changes nothing.

Example
  mysql> CALL outbox_internal_read_heads_v1(''relay-a'', 1000, 64, 0, 18446744073709551615, NULL, @heads);
'
SQL SECURITY DEFINER
READS SQL DATA
BEGIN
  DECLARE v_per_slot INT DEFAULT (p_limit + GREATEST(p_owned, 1) - 1) DIV GREATEST(p_owned, 1);
  DECLARE v_found INT;
  DECLARE v_ids JSON;

  SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED;
  START TRANSACTION;
  IF p_after > 0 THEN
    SELECT /*+ SET_VAR(sql_big_selects = 1) */ JSON_ARRAYAGG(next_of_all.id)
      INTO v_ids
      FROM (
        SELECT q.id
          FROM agent_outbox_messages AS q FORCE INDEX (PRIMARY)
          STRAIGHT_JOIN outbox_slots AS s ON s.slot = q.pending_slot
         WHERE q.id > p_after
           AND q.id <= p_to
           AND q.waits_for = 0
           AND s.relay = p_relay
         ORDER BY q.id
         LIMIT p_limit
      ) AS next_of_all;
  ELSE
    -- Every slot gives the same number at first; see outbox_internal_next_batch_v1 for why this widens, and that.
    -- The index is forced: a queue's statistics are wrong within seconds, and a wrong plan reads the whole table.
    widen: LOOP
      SELECT /*+ SET_VAR(sql_big_selects = 1) */ COUNT(*), JSON_ARRAYAGG(lowest.id)
        INTO v_found, v_ids
        FROM (
          SELECT head.id
            FROM outbox_slots AS s
            JOIN LATERAL (
              SELECT q.id
                FROM agent_outbox_messages AS q FORCE INDEX (outbox_pending_slot)
               WHERE q.pending_slot = s.slot
                 AND q.waits_for = 0
                 AND q.wakes_at = TIMESTAMP'2000-01-01 00:00:00'
                 AND q.id <= p_to
               ORDER BY q.pending_slot, q.waits_for, q.wakes_at, q.id
               LIMIT v_per_slot
            ) AS head
           WHERE s.relay = p_relay
           ORDER BY head.id
           LIMIT p_limit
        ) AS lowest;
      IF v_found < v_per_slot OR v_found * 2 >= p_limit OR v_per_slot >= p_limit THEN
        LEAVE widen;
      END IF;
      SET v_per_slot = LEAST(v_per_slot * 4, p_limit);
    END LOOP;
  END IF;

  -- What is earlier is asked as the first of the lane: to look for one below an id would read the rest of the lane, for each head.
  -- The index alone, and the row by its id: at READ UNCOMMITTED, InnoDB computes all virtual columns of a row that it finds by
  -- an index on one of them, which is 20 times as slow.
  IF v_ids IS NOT NULL THEN
    SELECT /*+ SET_VAR(sql_big_selects = 1) */ JSON_ARRAYAGG(JSON_ARRAY(head.id, head.lane,
             CASE
               WHEN (
                 SELECT entry.id
                   FROM agent_outbox_messages AS entry FORCE INDEX (outbox_open_lane)
                   STRAIGHT_JOIN agent_outbox_messages AS earlier FORCE INDEX (PRIMARY) ON earlier.id = entry.id
                   STRAIGHT_JOIN agent_outbox_messages AS own FORCE INDEX (PRIMARY) ON own.id = head.id
                  WHERE entry.open_lane = head.lane
                    AND entry.is_waiting = 1
                    AND earlier.topic = own.topic
                    AND earlier.message_key = own.message_key
                    AND NOT COALESCE(earlier.biz_type MEMBER OF (p_policies->'$.unordered'), FALSE)
                  ORDER BY entry.open_lane, entry.is_waiting, entry.id
                  LIMIT 1) < head.id THEN 1
               WHEN head.pause IS NOT NULL THEN head.pause
               WHEN p_after > 0 AND (
                 SELECT entry.id
                   FROM agent_outbox_messages AS entry FORCE INDEX (outbox_open_lane)
                   STRAIGHT_JOIN agent_outbox_messages AS earlier FORCE INDEX (PRIMARY) ON earlier.id = entry.id
                  WHERE entry.open_lane = head.lane
                    AND entry.is_waiting = 0
                    AND earlier.status = 'pending'
                  ORDER BY entry.open_lane, entry.is_waiting, entry.id
                  LIMIT 1) <= p_after THEN 0
             END,
             head.slot))
      INTO p_heads
      FROM (
        SELECT m.id, m.pending_slot AS slot,
               IF(m.biz_type MEMBER OF (p_policies->'$.unordered'), NULL, m.open_lane) AS lane,
               IF(p_policies IS NULL, NULL,
                  COALESCE(JSON_EXTRACT(p_policies, CONCAT('$.topics.' COLLATE utf8mb4_bin, JSON_QUOTE(m.topic))),
                           IF(m.id MEMBER OF (p_policies->'$.probes'), NULL, JSON_EXTRACT(p_policies, CONCAT('$.troubles.' COLLATE utf8mb4_bin, JSON_QUOTE(m.topic)))),
                           JSON_EXTRACT(p_policies, CONCAT('$.biz_types.' COLLATE utf8mb4_bin, JSON_QUOTE(m.biz_type))))) AS pause
          FROM JSON_TABLE(v_ids, '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$')) AS candidate
          STRAIGHT_JOIN agent_outbox_messages AS m FORCE INDEX (PRIMARY) ON m.id = candidate.id
      ) AS head;
  END IF;
  COMMIT AND NO CHAIN NO RELEASE;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (512, 'V0512__internal_read_heads_v1.sql');
