SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_claim_new_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_claim_new_v1 (
  IN p_relay VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_limit INT,
  IN p_goes_on BOOLEAN,
  OUT p_claimed INT
)
COMMENT '
The short way of a claim, for live traffic: returns what was enqueued since the last claim of this session, where that
needs no search. The search before it has left nothing in the queues of the relay''s slots but what it has returned, so only
higher ids can be new.
Internal: outbox_claim_v1 and outbox_claim_more_v1 call it.

It needs the search (outbox_internal_next_batch_v1) where an id is not committed, or is missing and may still come, where
an earlier message of a lane waits or is in the queue, where something new is paused or a pause is about to end, or where all
that is new is more than one batch.

Parameters
  p_relay VARCHAR(128): the relay
  p_limit INT: messages at most
  p_goes_on BOOLEAN: whether to pass over what was claimed and not marked; otherwise the search returns it again
  OUT p_claimed INT: how many messages the result set has, which is that of outbox_claim_v1; 0: none, then there is no result set;
    NULL: a search is needed

Owns its transactions (REPEATABLE READ: what it has examined is what it returns; READ UNCOMMITTED to look for ids that are
missing); changes nothing. Uses and advances the variables @outbox_through, @outbox_from and @outbox_settled, see
outbox_claim_v1.

Example
  mysql> CALL outbox_internal_claim_new_v1(''relay-a'', 1000, FALSE, @claimed);
'
SQL SECURITY DEFINER
READS SQL DATA
BEGIN
  -- The least that outbox_set_transaction_bytes_v1 takes; counted as outbox_internal_fit_v1 does.
  DECLARE v_most_bytes BIGINT UNSIGNED DEFAULT LEAST(1048576, @@GLOBAL.max_binlog_cache_size DIV 4 * 3);
  DECLARE v_now DATETIME(6) DEFAULT UTC_TIMESTAMP(6);
  DECLARE v_row_bytes INT DEFAULT 256;
  DECLARE v_images INT DEFAULT 2;
  DECLARE v_through BIGINT UNSIGNED DEFAULT @outbox_through;
  DECLARE v_unmarked_from BIGINT UNSIGNED DEFAULT @outbox_from;
  DECLARE v_from BIGINT UNSIGNED DEFAULT IF(p_goes_on, v_through, v_unmarked_from);
  DECLARE v_last BIGINT UNSIGNED DEFAULT v_through + p_limit;
  DECLARE v_top, v_bytes BIGINT UNSIGNED;
  DECLARE v_inserts JSON;
  DECLARE v_rows_there, v_rows, v_new, v_left, v_blocked, v_paused INT;

  SET p_claimed = NULL;
  look: LOOP
    SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;
    START TRANSACTION;
    IF v_rows_there IS NULL THEN
      SELECT COALESCE(MAX(id), 0) INTO v_top FROM agent_outbox_messages;
    END IF;
    IF v_top = v_from THEN
      SET p_claimed = 0;
      LEAVE look;
    END IF;
    -- One snapshot: where each new id has a row in it, nothing before them is missing or not committed. The first of a lane that
    -- waits and the first of a queue tell about all of them.
    SELECT /*+ SET_VAR(sql_big_selects = 1) */
           COALESCE(SUM(m.id > v_through), 0), COALESCE(MAX(m.id), v_through),
           COALESCE(SUM(m.id > v_through AND s.slot IS NOT NULL AND m.waits_for = 0), 0),
           COALESCE(SUM(m.id <= v_through AND s.slot IS NOT NULL AND m.waits_for = 0), 0),
           COALESCE(SUM(m.id > v_through AND s.slot IS NOT NULL AND m.waits_for = 0 AND (
             COALESCE((
               SELECT earlier.id
                 FROM agent_outbox_messages AS earlier FORCE INDEX (outbox_open_lane)
                WHERE earlier.open_lane = m.open_lane
                  AND earlier.is_waiting = 1
                ORDER BY earlier.open_lane, earlier.is_waiting, earlier.id
                LIMIT 1) < m.id, FALSE)
             OR COALESCE((
               SELECT earlier.id
                 FROM agent_outbox_messages AS earlier FORCE INDEX (outbox_pending_slot)
                WHERE earlier.pending_slot = m.pending_slot
                  AND earlier.waits_for = 0
                  AND earlier.wakes_at = TIMESTAMP'2000-01-01 00:00:00'
                ORDER BY earlier.pending_slot, earlier.waits_for, earlier.wakes_at, earlier.id
                LIMIT 1) <= v_unmarked_from, FALSE))), 0),
           COALESCE(SUM(IF(m.id > v_through AND s.slot IS NOT NULL, v_images * (v_row_bytes + LENGTH(m.payload) + LENGTH(m.message_key)
             + LENGTH(m.topic) + COALESCE(LENGTH(m.body), 0) + COALESCE(LENGTH(m.last_error), 0) + COALESCE(JSON_STORAGE_SIZE(m.headers), 0)), 0)), 0),
           COALESCE(SUM(m.id > v_through AND EXISTS (SELECT 1 FROM outbox_pauses) AND (
             EXISTS (SELECT 1 FROM outbox_pauses WHERE resumed_at IS NOT NULL OR retry_at <= v_now)
             OR EXISTS (SELECT 1 FROM outbox_pauses AS p WHERE p.kind = 'topic' AND p.name = m.topic)
             OR EXISTS (SELECT 1 FROM outbox_pauses AS p WHERE p.kind = 'trouble' AND p.name = m.topic)
             OR EXISTS (SELECT 1 FROM outbox_pauses AS p WHERE p.kind = 'biz_type' AND p.name = m.biz_type))), 0)
      INTO v_rows, v_top, v_new, v_left, v_blocked, v_bytes, v_paused
      FROM agent_outbox_messages AS m FORCE INDEX (PRIMARY)
      LEFT JOIN outbox_slots AS s ON s.slot = m.pending_slot AND s.relay = p_relay
     WHERE m.id > v_from
       AND m.id <= v_last;
    IF (v_rows_there IS NULL AND v_top >= v_last) OR v_bytes > v_most_bytes OR v_left OR v_blocked OR v_paused THEN
      LEAVE look;
    END IF;
    IF v_rows = COALESCE(v_rows_there, v_top - v_through) THEN
      SET p_claimed = v_new;
      IF v_new > 0 THEN
        SELECT m.id, m.biz_type, m.topic, m.message_key, IF(m.content_type IS NULL, CAST(CONVERT(m.payload USING utf8mb4) AS BINARY), m.body) AS value,
               COALESCE(m.content_type, 'application/json') AS content_type, m.headers, m.created_at, m.next_retry_at AS receipt
          FROM agent_outbox_messages AS m FORCE INDEX (PRIMARY)
          STRAIGHT_JOIN outbox_slots AS s ON s.slot = m.pending_slot
         WHERE m.id > v_through
           AND m.id <= v_top
           AND m.waits_for = 0
           AND s.relay = p_relay
         ORDER BY m.id;
      END IF;
      SET @outbox_from = IF(p_goes_on, v_unmarked_from, v_through), @outbox_through = v_top, @outbox_settled = v_top;
      LEAVE look;
    END IF;
    IF v_rows_there IS NOT NULL THEN
      LEAVE look;
    END IF;
    -- Where no statement runs that may have been given one of the ids without a row, none of them will ever have one: they
    -- were rolled back. Then all rows are there by now, and another snapshot tells whether it has those that a dirty read sees.
    CALL outbox_internal_find_inserts_v1(v_inserts);
    COMMIT AND NO CHAIN NO RELEASE;
    IF NOT COALESCE(JSON_LENGTH(v_inserts) = 0, FALSE) THEN
      LEAVE look;
    END IF;
    SET v_last = v_top;
    SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED;
    START TRANSACTION;
    SELECT COUNT(*) INTO v_rows_there FROM agent_outbox_messages FORCE INDEX (PRIMARY) WHERE id > v_through AND id <= v_top;
    COMMIT AND NO CHAIN NO RELEASE;
  END LOOP;
  COMMIT AND NO CHAIN NO RELEASE;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (510, 'V0510__internal_claim_new_v1.sql');
