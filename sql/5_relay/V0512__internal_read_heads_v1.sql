SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_read_heads_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_read_heads_v1 (
  IN p_relay VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_limit INT,
  IN p_owned INT,
  IN p_top BIGINT UNSIGNED,
  OUT p_heads JSON
)
COMMENT '
Finds what the relay''s slots could send next, from the head of each slot''s queue, in id order; it sees rows whose
transaction is not committed yet, which is what lets outbox_internal_hold_back_v1 hold back their key''s later messages.
Internal: outbox_claim_v1 calls it.

A message is passed over while it is not due, while its topic or business type is paused (outbox_pause_v1), or while
an earlier one of its topic and key waits for its retry or is of a paused business type (unless one of the two has
ordering none).

Parameters
  p_relay VARCHAR(128): the relay
  p_limit INT: messages at most
  p_owned INT: how many slots the relay owns
  p_top BIGINT UNSIGNED: the last id to send
  OUT p_heads JSON: [[id, lane], ...] by ascending id; NULL where there is nothing

Owns its transaction (READ UNCOMMITTED); changes nothing.

Example
  mysql> CALL outbox_internal_read_heads_v1(''relay-a'', 1000, 64, 18446744073709551615, @heads);
'
SQL SECURITY DEFINER
READS SQL DATA
BEGIN
  DECLARE v_now DATETIME(6) DEFAULT UTC_TIMESTAMP(6);
  DECLARE v_too_late DATETIME(6) DEFAULT v_now + INTERVAL 1 MINUTE;
  DECLARE v_quota INT DEFAULT CEIL(p_limit / GREATEST(p_owned, 1));
  DECLARE v_found INT;
  DECLARE v_paused_topics, v_paused_types JSON;

  SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED;
  START TRANSACTION;
  SELECT JSON_ARRAYAGG(name) INTO v_paused_topics FROM outbox_pauses WHERE kind = 'topic';
  SELECT JSON_ARRAYAGG(name) INTO v_paused_types FROM outbox_pauses WHERE kind = 'biz_type';
  -- What went back to pending at a time that is yet to come did so before the clock was set back: it waits no longer.
  -- Every slot gives the same number; where that leaves the batch half empty, the slots that had more give more,
  -- up to the whole batch from one hot slot. The lowest ids stay, so that each slot gives a prefix of its queue.
  -- Both indexes are forced: a queue's statistics are wrong within seconds, and a wrong plan reads the whole table.
  -- What holds back later messages of its topic and key, because it waits for its retry or its business type is
  -- paused, is looked up once for all: to ask that of each head anew would read a long lane again and again.
  fill: LOOP
    WITH held AS (
      SELECT waiting.open_lane AS lane, MIN(waiting.id) AS first_id
        FROM agent_outbox_messages AS waiting FORCE INDEX (idx_outbox_status_next)
       WHERE waiting.status = 'pending'
         AND waiting.next_retry_at > v_now
         AND waiting.is_delayed
         AND NOT (waiting.updated_at > v_too_late AND NOT waiting.updated_at <=> waiting.created_at)
         AND NOT EXISTS (SELECT 1 FROM outbox_biz_types AS t WHERE t.biz_type = waiting.biz_type AND t.ordering = 'none')
       GROUP BY waiting.open_lane, waiting.topic, waiting.message_key
      UNION ALL
      SELECT paused.open_lane, MIN(paused.id)
        FROM agent_outbox_messages AS paused FORCE INDEX (idx_outbox_status_next)
       WHERE v_paused_types IS NOT NULL
         AND paused.status = 'pending'
         AND paused.biz_type MEMBER OF (v_paused_types)
         AND NOT EXISTS (SELECT 1 FROM outbox_biz_types AS t WHERE t.biz_type = paused.biz_type AND t.ordering = 'none')
       GROUP BY paused.open_lane, paused.topic, paused.message_key
    )
    SELECT COUNT(*), JSON_ARRAYAGG(JSON_ARRAY(picked.id, picked.lane))
      INTO v_found, p_heads
      FROM (
        SELECT head.id, head.lane
          FROM outbox_slots AS s
          JOIN LATERAL (
            SELECT m.id, CRC32(CONCAT(m.topic, ':', m.message_key)) AS lane
              FROM agent_outbox_messages AS m FORCE INDEX (outbox_pending_slot)
             WHERE m.pending_slot = s.slot
               AND m.id <= p_top
               AND (NOT m.is_delayed OR m.next_retry_at <= v_now OR (m.updated_at > v_too_late AND NOT m.updated_at <=> m.created_at))
               AND (v_paused_topics IS NULL OR NOT m.topic MEMBER OF (v_paused_topics))
               AND (v_paused_types IS NULL OR NOT m.biz_type MEMBER OF (v_paused_types))
               AND NOT EXISTS (
                 SELECT 1
                   FROM held
                   STRAIGHT_JOIN agent_outbox_messages AS earlier FORCE INDEX (PRIMARY) ON earlier.id = held.first_id
                  WHERE held.lane = m.open_lane
                    AND held.first_id < m.id
                    AND earlier.topic = m.topic
                    AND earlier.message_key = m.message_key
                    AND NOT EXISTS (SELECT 1 FROM outbox_biz_types AS t WHERE t.biz_type = m.biz_type AND t.ordering = 'none'))
             ORDER BY m.pending_slot, m.id
             LIMIT v_quota
          ) AS head
         WHERE s.relay = p_relay
         ORDER BY head.id
         LIMIT p_limit
      ) AS picked;
    IF v_found < v_quota OR v_found * 2 >= p_limit OR v_quota >= p_limit THEN
      LEAVE fill;
    END IF;
    SET v_quota = LEAST(v_quota * 4, p_limit);
  END LOOP;
  COMMIT;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (512, 'V0512__internal_read_heads_v1.sql');
