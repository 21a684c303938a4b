SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_wake_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_wake_v1 (
  IN p_relay VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_has_joined BOOLEAN,
  OUT p_first BIGINT UNSIGNED
)
COMMENT '
Brings messages of the relay''s slots into the queue that have waited for a time: after a failure, a requeue or with a
delay, or parked behind one that did; 1,000 that are due at a time, or a little more. What is not due costs nothing,
however much there is of it.
Internal: outbox_internal_next_batch_v1 calls it before it reads the queue.

With a message come the next 100 of its lane that are parked behind an earlier one (outbox_internal_park_v1), and the one
behind these comes next.

Parameters
  p_relay VARCHAR(128): the relay
  p_has_joined BOOLEAN: looks also whether the clock has been set back, by what was written last and by the first that
    wait in each slot: if so, a message that went back to pending at a time yet to come waits no longer; nor does one of a
    pause that somebody has deleted
  OUT p_first BIGINT UNSIGNED: the lowest id that has come into the queue; NULL: none

Owns its transaction (READ COMMITTED), and commits to disk only where something is due.

Example
  mysql> CALL outbox_internal_wake_v1(''relay-a'', FALSE, @first);
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_now DATETIME(6) DEFAULT UTC_TIMESTAMP(6);
  -- What was written this far ahead of the clock was written before the clock was set back.
  DECLARE v_before_setback DATETIME(6) DEFAULT v_now + INTERVAL 1 MINUTE;
  DECLARE v_limit INT DEFAULT 1000;
  DECLARE v_per_slot INT DEFAULT 1;
  DECLARE v_followers INT DEFAULT 100;
  DECLARE v_and_next INT DEFAULT v_followers + 1;
  DECLARE v_sample INT DEFAULT 20;
  DECLARE v_newest INT DEFAULT 100;
  DECLARE v_found, v_of_one_slot INT;
  DECLARE v_is_set_back BOOLEAN;
  DECLARE v_due, v_early, v_orphans, v_notes JSON;

  IF p_has_joined THEN
    CALL outbox_internal_find_orphans_v1(p_relay, v_orphans);
  END IF;
  SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
  START TRANSACTION;
  -- Each slot shows its first, and more where that is due: the index ends no search at a time, so what is not due is read
  -- as well.
  widen: LOOP
    SELECT /*+ SET_VAR(sql_big_selects = 1) */ COUNT(*), JSON_ARRAYAGG(JSON_ARRAY(due.id, due.lane, due.slot))
      INTO v_found, v_due
      FROM (
        SELECT head.id, head.lane, s.slot
          FROM outbox_slots AS s
          JOIN LATERAL (
            SELECT m.id, m.open_lane AS lane, m.wakes_at
              FROM agent_outbox_messages AS m FORCE INDEX (outbox_pending_slot)
             WHERE m.pending_slot = s.slot
               AND m.waits_for = 1
             ORDER BY m.pending_slot, m.waits_for, m.wakes_at, m.id
             LIMIT v_per_slot
          ) AS head
         WHERE s.relay = p_relay
           AND head.wakes_at <= v_now
         LIMIT v_limit
      ) AS due;
    IF v_found < v_per_slot OR v_found * 2 >= v_limit OR v_per_slot = v_limit THEN
      LEAVE widen;
    END IF;
    SELECT MAX(slots.messages)
      INTO v_of_one_slot
      FROM (
        SELECT COUNT(*) AS messages
          FROM JSON_TABLE(v_due, '$[*]' COLUMNS (slot INT PATH '$[2]')) AS due
         GROUP BY due.slot
      ) AS slots;
    IF v_of_one_slot < v_per_slot THEN
      LEAVE widen;
    END IF;
    SET v_per_slot = LEAST(v_per_slot * 10, v_limit);
  END LOOP;
  IF p_has_joined THEN
    -- To read all that wait takes seconds where there are a million of them.
    SELECT /*+ SET_VAR(sql_big_selects = 1) */
           EXISTS (SELECT 1 FROM outbox_relays AS r WHERE r.lease_until > v_before_setback + INTERVAL r.lease_seconds SECOND)
        OR EXISTS (
             SELECT 1
               FROM (SELECT m.updated_at FROM agent_outbox_messages AS m ORDER BY m.id DESC LIMIT v_newest) AS newest
              WHERE newest.updated_at > v_before_setback)
        OR EXISTS (
             SELECT 1
               FROM outbox_slots AS s
               JOIN LATERAL (
                 SELECT m.updated_at
                   FROM agent_outbox_messages AS m FORCE INDEX (outbox_pending_slot)
                  WHERE m.pending_slot = s.slot
                    AND m.waits_for = 1
                  ORDER BY m.pending_slot, m.waits_for, m.wakes_at, m.id
                  LIMIT v_sample
               ) AS head
              WHERE s.relay = p_relay
                AND head.updated_at > v_before_setback)
      INTO v_is_set_back;
    IF v_is_set_back THEN
      SELECT /*+ SET_VAR(sql_big_selects = 1) */ JSON_ARRAYAGG(JSON_ARRAY(m.id, m.open_lane))
        INTO v_early
        FROM outbox_slots AS s
        STRAIGHT_JOIN agent_outbox_messages AS m FORCE INDEX (outbox_pending_slot) ON m.pending_slot = s.slot AND m.waits_for = 1
       WHERE s.relay = p_relay
         AND m.wakes_at > v_now
         AND m.updated_at > v_before_setback
         AND NOT m.updated_at <=> m.created_at;
    END IF;
    -- Merging anything with NULL gives NULL.
    SET v_early = COALESCE(JSON_MERGE_PRESERVE(v_early, v_orphans), v_early, v_orphans);
    SET v_due = COALESCE(JSON_MERGE_PRESERVE(v_due, v_early), v_due, v_early);
  END IF;

  IF v_due IS NOT NULL THEN
    SELECT /*+ SET_VAR(sql_big_selects = 1) */ JSON_ARRAYAGG(JSON_ARRAY(woken.id, woken.parked_for, woken.parked_until))
      INTO v_notes
      FROM (
        SELECT given.id, MIN(given.parked_for) AS parked_for, MIN(given.parked_until) AS parked_until
          FROM (
            SELECT due.id, NULL AS parked_for, NULL AS parked_until
              FROM JSON_TABLE(v_due, '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$[0]')) AS due
             UNION ALL
            SELECT follower.id, IF(follower.place > v_followers, 1, NULL), IF(follower.place > v_followers, v_now, NULL)
              FROM JSON_TABLE(v_due, '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$[0]', lane INT UNSIGNED PATH '$[1]')) AS due
              JOIN LATERAL (
                SELECT sleeper.id, ROW_NUMBER() OVER (ORDER BY sleeper.id) AS place
                  FROM (
                    SELECT m.id
                      FROM agent_outbox_messages AS m FORCE INDEX (outbox_open_lane)
                     WHERE m.open_lane = due.lane
                       AND m.is_waiting = 1
                       AND m.id > due.id
                       AND m.waits_for = 1
                       AND m.noted_for <=> m.next_retry_at
                     ORDER BY m.open_lane, m.is_waiting, m.id
                     LIMIT v_and_next
                  ) AS sleeper
              ) AS follower
          ) AS given
         GROUP BY given.id
         ORDER BY given.id
         LIMIT 100000
      ) AS woken;
    CALL outbox_internal_note_v1(v_notes);
    SET p_first = CAST(JSON_EXTRACT(v_notes, '$[0][0]') AS UNSIGNED);
  END IF;
  COMMIT AND NO CHAIN NO RELEASE;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (507, 'V0507__internal_wake_v1.sql');
