SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_end_pauses_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_end_pauses_v1 (
  IN p_relay VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_limit INT,
  INOUT p_first BIGINT UNSIGNED
)
COMMENT '
Brings messages of the relay''s slots back into the queue that have waited for a pause which is over, and deletes the pause
when the last of its messages is back. Lets one message of each topic in trouble through when its retry_at has come, to
try the topic.
Internal: outbox_internal_next_batch_v1 calls it where there is such a pause.

Parameters
  p_relay VARCHAR(128): the relay
  p_limit INT: messages at most; the next call goes on
  INOUT p_first BIGINT UNSIGNED: the lowest id that has come into the queue, before this call and now; NULL: none

Owns its transaction (READ COMMITTED). A pause that another relay or an operator has locked is left to the next call.

Example
  mysql> CALL outbox_internal_end_pauses_v1(''relay-a'', 1000, @first);
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_now DATETIME(6) DEFAULT UTC_TIMESTAMP(6);
  DECLARE v_per_slot INT DEFAULT GREATEST(p_limit DIV 16, 1);
  -- A relay that has a message under way answers within this time, or is gone.
  DECLARE v_answer_seconds INT DEFAULT 120;
  DECLARE v_over, v_tried, v_notes JSON;

  SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
  START TRANSACTION;
  SELECT JSON_ARRAYAGG(id) INTO v_over FROM outbox_pauses WHERE resumed_at IS NOT NULL FOR UPDATE SKIP LOCKED;
  IF v_over IS NOT NULL THEN
    SELECT /*+ SET_VAR(sql_big_selects = 1) */ JSON_ARRAYAGG(JSON_ARRAY(back.id, NULL, NULL))
      INTO v_notes
      FROM (
        SELECT head.id
          FROM JSON_TABLE(v_over, '$[*]' COLUMNS (pause BIGINT UNSIGNED PATH '$')) AS ended
          STRAIGHT_JOIN outbox_slots AS s
          JOIN LATERAL (
            SELECT m.id
              FROM agent_outbox_messages AS m FORCE INDEX (outbox_pending_slot)
             WHERE m.pending_slot = s.slot
               AND m.waits_for = ended.pause
             ORDER BY m.pending_slot, m.waits_for, m.wakes_at, m.id
             LIMIT v_per_slot
          ) AS head
         WHERE s.relay = p_relay
         ORDER BY head.id
         LIMIT p_limit
      ) AS back;
    CALL outbox_internal_note_v1(v_notes);
    SET p_first = LEAST(COALESCE(p_first, CAST(JSON_EXTRACT(v_notes, '$[0][0]') AS UNSIGNED)), COALESCE(CAST(JSON_EXTRACT(v_notes, '$[0][0]') AS UNSIGNED), p_first));
  END IF;

  SELECT JSON_ARRAYAGG(id) INTO v_tried FROM outbox_pauses WHERE resumed_at IS NULL AND retry_at <= v_now FOR UPDATE SKIP LOCKED;
  IF v_tried IS NOT NULL THEN
    SELECT /*+ SET_VAR(sql_big_selects = 1) */ JSON_ARRAYAGG(JSON_ARRAY(first_of.id, NULL, NULL, first_of.pause))
      INTO v_notes
      FROM (
        SELECT tried.pause, MIN(head.id) AS id
          FROM JSON_TABLE(v_tried, '$[*]' COLUMNS (pause BIGINT UNSIGNED PATH '$')) AS tried
          STRAIGHT_JOIN outbox_slots AS s
          JOIN LATERAL (
            SELECT m.id
              FROM agent_outbox_messages AS m FORCE INDEX (outbox_pending_slot)
             WHERE m.pending_slot = s.slot
               AND m.waits_for = tried.pause
             ORDER BY m.pending_slot, m.waits_for, m.wakes_at, m.id
             LIMIT 1
          ) AS head
         WHERE s.relay = p_relay
         GROUP BY tried.pause
         ORDER BY id
         LIMIT 1000
      ) AS first_of;
    CALL outbox_internal_note_v1(v_notes);
    SET p_first = LEAST(COALESCE(p_first, CAST(JSON_EXTRACT(v_notes, '$[0][0]') AS UNSIGNED)), COALESCE(CAST(JSON_EXTRACT(v_notes, '$[0][0]') AS UNSIGNED), p_first));
    UPDATE /*+ SET_VAR(sql_safe_updates = 0) */ JSON_TABLE(COALESCE(v_notes, '[]'), '$[*]' COLUMNS (
             id BIGINT UNSIGNED PATH '$[0]',
             pause BIGINT UNSIGNED PATH '$[3]')) AS probe
      STRAIGHT_JOIN outbox_pauses AS p ON p.id = probe.pause
       SET p.retry_at = v_now + INTERVAL v_answer_seconds SECOND,
           p.probe_id = probe.id;
  END IF;

  -- Nothing waits for it any more, in nobody's slots: a pause that is over has ended, and there is nothing to try.
  DELETE /*+ SET_VAR(sql_safe_updates = 0) */ p
    FROM outbox_pauses AS p
   WHERE (p.id MEMBER OF (v_over) OR (p.id MEMBER OF (v_tried) AND p.retry_at <= v_now))
     AND NOT EXISTS (
       SELECT 1
         FROM outbox_slots AS s
         JOIN LATERAL (
           SELECT 1 FROM agent_outbox_messages AS m FORCE INDEX (outbox_pending_slot) WHERE m.pending_slot = s.slot AND m.waits_for = p.id LIMIT 1
         ) AS still);
  COMMIT AND NO CHAIN NO RELEASE;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (509, 'V0509__internal_end_pauses_v1.sql');
