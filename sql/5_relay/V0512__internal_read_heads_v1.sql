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
Reads the heads: what the relay''s slots could send next, from the head of each slot''s queue, in id order. It sees
rows whose transaction has not committed yet, which lets outbox_internal_hold_back_v1 hold back their followers.
Internal: outbox_internal_next_batch_v1 calls it.

A message is passed over while it is not due, while its topic or business type is paused (outbox_pause_v1), or while
an earlier one of its lane waits for its retry or is of a paused business type (unless one of the two has ordering
none).

Parameters
  p_relay VARCHAR(128): the relay
  p_limit INT: messages at most; of more, those with the lowest ids
  p_owned INT: how many slots the relay owns
  p_top BIGINT UNSIGNED: the last id to read
  OUT p_heads JSON: [[id, lane], ...] in any order; lane is the hash that open_lane holds; NULL: there is nothing

Owns its transactions (READ COMMITTED for the policies, then READ UNCOMMITTED); changes nothing.

Example
  mysql> CALL outbox_internal_read_heads_v1(''relay-a'', 1000, 64, 18446744073709551615, @heads);
'
SQL SECURITY DEFINER
READS SQL DATA
BEGIN
  DECLARE v_now DATETIME(6) DEFAULT UTC_TIMESTAMP(6);
  -- What was written this far ahead of the clock was written before the clock was set back, and waits no longer.
  DECLARE v_before_setback DATETIME(6) DEFAULT v_now + INTERVAL 1 MINUTE;
  DECLARE v_per_slot INT DEFAULT (p_limit + GREATEST(p_owned, 1) - 1) DIV GREATEST(p_owned, 1);
  DECLARE v_found INT;
  DECLARE v_paused_topics, v_paused_types, v_unordered_types JSON;

  -- Lists, read once: a subquery would be asked again for each message. Of what is committed: a pause, or a type that is
  -- about to lose its order, may stand in a migration that is rolled back.
  SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
  START TRANSACTION;
  SELECT JSON_ARRAYAGG(name) INTO v_paused_topics FROM outbox_pauses WHERE kind = 'topic';
  SELECT JSON_ARRAYAGG(name) INTO v_paused_types FROM outbox_pauses WHERE kind = 'biz_type';
  SELECT JSON_ARRAYAGG(biz_type) INTO v_unordered_types FROM outbox_biz_types WHERE ordering = 'none';
  COMMIT AND NO CHAIN NO RELEASE;

  SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED;
  START TRANSACTION;
  -- Every slot gives the same number at first; see outbox_internal_next_batch_v1 for why this widens, and that.
  -- Both indexes are forced: a queue's statistics are wrong within seconds, and a wrong plan reads the whole table.
  widen: LOOP
    -- first_of_lane: where each lane is held, by a message that waits for its retry or whose type is paused. It is looked
    -- up once for all lanes: to ask for each head anew would read a long lane again and again.
    WITH first_of_lane AS (
      SELECT waiting.open_lane AS lane, MIN(waiting.id) AS id
        FROM agent_outbox_messages AS waiting FORCE INDEX (idx_outbox_status_next)
       WHERE waiting.status = 'pending'
         AND waiting.next_retry_at > v_now
         AND waiting.is_delayed
         AND NOT (waiting.updated_at > v_before_setback AND NOT waiting.updated_at <=> waiting.created_at)
         AND (v_unordered_types IS NULL OR NOT waiting.biz_type MEMBER OF (v_unordered_types))
       GROUP BY waiting.open_lane, waiting.topic, waiting.message_key
      UNION ALL
      SELECT paused.open_lane, MIN(paused.id)
        FROM agent_outbox_messages AS paused FORCE INDEX (idx_outbox_status_next)
       WHERE v_paused_types IS NOT NULL
         AND paused.status = 'pending'
         AND paused.biz_type MEMBER OF (v_paused_types)
         AND (v_unordered_types IS NULL OR NOT paused.biz_type MEMBER OF (v_unordered_types))
       GROUP BY paused.open_lane, paused.topic, paused.message_key
    )
    SELECT /*+ SET_VAR(sql_big_selects = 1) SET_VAR(optimizer_switch = 'subquery_to_derived=off') */
           COUNT(*), JSON_ARRAYAGG(JSON_ARRAY(lowest.id, lowest.lane))
      INTO v_found, p_heads
      FROM (
        SELECT head.id, head.lane
          FROM outbox_slots AS s
          JOIN LATERAL (
            SELECT m.id, m.open_lane AS lane
              FROM agent_outbox_messages AS m FORCE INDEX (outbox_pending_slot)
             WHERE m.pending_slot = s.slot
               AND m.id <= p_top
               AND (NOT m.is_delayed OR m.next_retry_at <= v_now OR (m.updated_at > v_before_setback AND NOT m.updated_at <=> m.created_at))
               AND (v_paused_topics IS NULL OR NOT m.topic MEMBER OF (v_paused_topics))
               AND (v_paused_types IS NULL OR NOT m.biz_type MEMBER OF (v_paused_types))
               AND NOT (
                 (v_unordered_types IS NULL OR NOT m.biz_type MEMBER OF (v_unordered_types))
                 AND EXISTS (
                   SELECT 1
                     FROM first_of_lane
                     STRAIGHT_JOIN agent_outbox_messages AS earlier FORCE INDEX (PRIMARY) ON earlier.id = first_of_lane.id
                    WHERE first_of_lane.lane = m.open_lane
                      AND earlier.id < m.id
                      AND earlier.topic = m.topic
                      AND earlier.message_key = m.message_key))
             ORDER BY m.pending_slot, m.id
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
  COMMIT AND NO CHAIN NO RELEASE;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (512, 'V0512__internal_read_heads_v1.sql');
