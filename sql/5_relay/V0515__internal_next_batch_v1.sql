SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_next_batch_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_next_batch_v1 (
  IN p_relay VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_limit INT,
  IN p_owned INT,
  IN p_woken BIGINT UNSIGNED,
  OUT p_top BIGINT UNSIGNED,
  OUT p_batch JSON,
  OUT p_is_held BOOLEAN,
  OUT p_is_all BOOLEAN
)
COMMENT '
Searches the next batch of a relay: finds the ids that are unsettled, reads the heads, holds back what must wait, and parks
what has to wait for longer.
Internal: outbox_claim_v1 calls it.

Two loops widen the search, each against a way in which few messages could hide many. Inside
outbox_internal_read_heads_v1 every slot gives the same number of heads; where that leaves the batch half empty, the
slots that had more give more, up to the whole batch from one hot slot. Here, where what is held back fills the batch, the
search goes on behind it: behind an open transaction with many messages are those of other lanes. The next call begins
there; what was left behind is looked at again in turns, a little at each call.

Parameters
  p_relay VARCHAR(128): the relay
  p_limit INT: how many messages are wanted
  p_owned INT: how many slots the relay owns
  p_woken BIGINT UNSIGNED: the lowest id that outbox_internal_wake_v1 has just brought into the queue; NULL: none
  OUT p_top BIGINT UNSIGNED: the last id that was committed when the search began
  OUT p_batch JSON: [id, ...], possibly more than p_limit, and with repetitions; NULL: there is nothing to send
  OUT p_is_held BOOLEAN: whether messages were held back
  OUT p_is_all BOOLEAN: whether the queues have nothing else, and all ids up to p_top are settled

What a call keeps for the next is in variables of the session, which outbox_claim_v1 clears for another relay or other slots:
  @outbox_settled  p_settled of outbox_internal_find_unsettled_v1
  @outbox_left     up to this id all messages were left behind; 0: none
  @outbox_left_at  since when
  @outbox_again    behind this id the next of them are looked at again
  @outbox_kept     how many of them had to wait still, in this turn; of what is not committed, in all slots
  @outbox_parks    whether some of the last of them could be parked

Owns its transactions; changes only what it brings into the queue or parks.

Example
  mysql> CALL outbox_internal_next_batch_v1(''relay-a'', 1000, 64, NULL, @top, @batch, @is_held, @is_all);
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_few INT DEFAULT 200;
  -- A look at what was left is at so many messages, among so many ids; at more where there are some to park.
  DECLARE v_look INT DEFAULT IF(@outbox_parks, 128, 64);
  DECLARE v_span INT DEFAULT 2048;
  DECLARE v_glance INT DEFAULT 256;
  DECLARE v_skip INT DEFAULT 100000;
  DECLARE v_is_there BOOLEAN DEFAULT TRUE;
  DECLARE v_now DATETIME(6) DEFAULT UTC_TIMESTAMP(6);
  DECLARE v_until DATETIME(6) DEFAULT v_now + INTERVAL 1 SECOND;
  DECLARE v_woken BIGINT UNSIGNED DEFAULT p_woken;
  DECLARE v_young, v_policies, v_found, v_more JSON;
  DECLARE v_missing_id, v_to BIGINT UNSIGNED;
  DECLARE v_after, v_left, v_through BIGINT UNSIGNED DEFAULT COALESCE(@outbox_left, 0);
  DECLARE v_paused, v_ending, v_held, v_waited_for, v_passed INT DEFAULT 0;
  DECLARE v_is_first BOOLEAN DEFAULT TRUE;
  DECLARE v_has_come BOOLEAN DEFAULT FALSE;
  DECLARE v_slow_us INT DEFAULT 20000;
  DECLARE v_is_slow BOOLEAN DEFAULT FALSE;
  DECLARE v_began DATETIME(6);

  -- Of what is committed: a pause, or a type that is about to lose its order, may stand in a migration that is rolled back.
  SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
  START TRANSACTION;
  SELECT COUNT(*), COALESCE(SUM(resumed_at IS NOT NULL OR retry_at <= v_now), 0) INTO v_paused, v_ending FROM outbox_pauses;
  SELECT IF(COUNT(*) > 0, JSON_OBJECT('unordered', JSON_ARRAYAGG(biz_type)), NULL) INTO v_policies FROM outbox_biz_types WHERE ordering = 'none';
  COMMIT AND NO CHAIN NO RELEASE;
  IF v_ending > 0 THEN
    CALL outbox_internal_end_pauses_v1(p_relay, p_limit, v_woken);
  END IF;
  IF v_paused > 0 THEN
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    START TRANSACTION;
    SELECT JSON_MERGE_PATCH(COALESCE(v_policies, '{}'), JSON_OBJECT(
             'topics', (SELECT JSON_OBJECTAGG(name, id) FROM outbox_pauses WHERE kind = 'topic' AND resumed_at IS NULL),
             'biz_types', (SELECT JSON_OBJECTAGG(name, id) FROM outbox_pauses WHERE kind = 'biz_type' AND resumed_at IS NULL),
             'troubles', (SELECT JSON_OBJECTAGG(name, id) FROM outbox_pauses WHERE kind = 'trouble' AND resumed_at IS NULL),
             'probes', (SELECT JSON_ARRAYAGG(probe_id) FROM outbox_pauses WHERE kind = 'trouble' AND resumed_at IS NULL AND probe_id IS NOT NULL)))
      INTO v_policies;
    COMMIT AND NO CHAIN NO RELEASE;
  END IF;

  CALL outbox_internal_find_unsettled_v1(@outbox_settled, p_top, v_young, v_missing_id);
  SET v_to = COALESCE(v_missing_id - 1, p_top);
  SET p_batch = NULL, p_is_held = v_missing_id IS NOT NULL OR v_left > 0;

  IF v_left > 0 THEN
    IF @outbox_again > 0 AND @outbox_again < v_left THEN
      -- Most often nothing of it is committed yet, which a glance tells: a look costs ten times as much.
      SET v_through = LEAST(@outbox_again + v_glance, v_left);
      SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
      START TRANSACTION;
      SELECT EXISTS (SELECT 1 FROM agent_outbox_messages FORCE INDEX (PRIMARY) WHERE id > @outbox_again AND id <= v_through AND status = 'pending') INTO v_is_there;
      COMMIT AND NO CHAIN NO RELEASE;
      IF NOT v_is_there THEN
        SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED;
        START TRANSACTION;
        SELECT COUNT(*) INTO v_held FROM agent_outbox_messages FORCE INDEX (PRIMARY) WHERE id > @outbox_again AND id <= v_through AND status = 'pending';
        COMMIT AND NO CHAIN NO RELEASE;
        SET @outbox_kept = @outbox_kept + v_held, @outbox_again = v_through;
      END IF;
    END IF;
    IF v_is_there AND @outbox_again < v_left THEN
      CALL outbox_internal_examine_v1(p_relay, v_look, p_owned, @outbox_again, IF(@outbox_again > 0, LEAST(@outbox_again + v_span, v_left), v_left),
        v_policies, v_young, TRUE, p_batch, v_through, v_held, v_waited_for);
      SET @outbox_kept = @outbox_kept + v_held, @outbox_parks = v_waited_for > v_held;
      -- Not behind a message that is handed out: where it is not marked it is found again.
      SET @outbox_again = LEAST(v_through, COALESCE(CAST(JSON_EXTRACT(p_batch, '$[0]') AS UNSIGNED) - 1, v_through));
      SET v_has_come = v_waited_for = 0 AND (v_held > 0 OR p_batch IS NOT NULL);
    END IF;
    IF v_has_come OR (@outbox_again >= v_left AND @outbox_kept < v_few AND v_now NOT BETWEEN @outbox_left_at AND @outbox_left_at + INTERVAL 1 SECOND) THEN
      -- What they waited for has come, or few are left: from the beginning again.
      SET v_left = 0, v_after = 0, p_batch = NULL;
    ELSEIF @outbox_again >= v_left AND @outbox_kept >= v_few THEN
      SET @outbox_again = 0, @outbox_kept = 0;
    END IF;
    IF v_woken <= v_left THEN
      CALL outbox_internal_examine_v1(p_relay, v_look, p_owned, v_woken - 1, LEAST(v_woken + v_span, v_left),
        v_policies, v_young, TRUE, v_more, v_through, v_held, v_waited_for);
      SET p_batch = COALESCE(JSON_MERGE_PRESERVE(p_batch, v_more), p_batch, v_more);
      SET @outbox_again = LEAST(@outbox_again, COALESCE(CAST(JSON_EXTRACT(v_more, '$[0]') AS UNSIGNED) - 1, @outbox_again));
    END IF;
    SET @outbox_left = v_left;
  END IF;

  SET v_found = NULL;
  search: LOOP
    SET v_began = UTC_TIMESTAMP(6);
    CALL outbox_internal_examine_v1(p_relay, p_limit, p_owned, v_after, IF(v_after > 0, LEAST(v_after + v_span + p_limit, v_to), v_to),
      v_policies, v_young, v_is_first, v_more, v_through, v_held, v_waited_for);
    -- Entries of the index that have left the queue stay in it for as long as somebody's transaction is older than that.
    SET v_is_slow = v_is_slow OR (v_after = 0 AND JSON_LENGTH(COALESCE(v_more, '[]')) < v_few AND TIMESTAMPDIFF(MICROSECOND, v_began, UTC_TIMESTAMP(6)) > v_slow_us);
    -- What was to be parked counts, too: what it waits for may not be committed, and may never be.
    SET p_is_held = p_is_held OR v_held > 0 OR v_waited_for > 0, v_is_first = FALSE;
    IF v_found IS NULL THEN
      SET v_found = v_more, v_passed = v_passed + v_held;
      SET v_left = LEAST(v_through, COALESCE(CAST(JSON_EXTRACT(v_found, '$[0]') AS UNSIGNED) - 1, v_through));
      -- Read all of a lane together: behind a part that is left out it would wait.
      SET v_through = IF(v_through < v_to AND v_after < v_left, v_left, v_through);
    ELSE
      SET v_found = JSON_MERGE_PRESERVE(v_found, COALESCE(v_more, '[]'));
    END IF;
    IF v_through >= v_to OR JSON_LENGTH(v_found) * 2 >= p_limit OR UTC_TIMESTAMP(6) NOT BETWEEN v_now AND v_until THEN
      LEAVE search;
    END IF;
    SET v_after = v_through;
    IF v_more IS NULL THEN
      -- None of them can be sent. What is not committed behind them is passed over: to examine it costs 50 times as much.
      SET v_through = LEAST(v_after + v_skip, v_to);
      SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
      START TRANSACTION;
      SELECT COALESCE(MIN(first_of.id) - 1, v_through)
        INTO v_through
        FROM (
          SELECT id FROM agent_outbox_messages FORCE INDEX (PRIMARY) WHERE id > v_after AND id <= v_through AND status = 'pending' ORDER BY id LIMIT 1
        ) AS first_of;
      COMMIT AND NO CHAIN NO RELEASE;
      SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED;
      START TRANSACTION;
      SELECT v_passed + COUNT(*)
        INTO v_passed
        FROM (
          SELECT id FROM agent_outbox_messages FORCE INDEX (PRIMARY) WHERE id > v_after AND id <= v_through AND status = 'pending' ORDER BY id LIMIT v_few
        ) AS uncommitted;
      COMMIT AND NO CHAIN NO RELEASE;
      SET v_after = v_through;
    END IF;
  END LOOP;
  SET p_is_all = NOT p_is_held AND v_young IS NULL AND v_through >= v_to AND @outbox_settled <=> p_top;
  SET p_batch = COALESCE(JSON_MERGE_PRESERVE(p_batch, v_found), p_batch, v_found);
  IF (v_passed >= v_few OR (v_is_slow AND NOT p_is_held)) AND v_left > COALESCE(@outbox_left, 0) THEN
    IF NOT COALESCE(@outbox_left, 0) THEN
      -- Where the index was slow there is nothing to look at again, for a second.
      SET @outbox_again = IF(v_passed >= v_few, 0, v_left), @outbox_kept = 0, @outbox_left_at = v_now;
    END IF;
    SET @outbox_left = v_left;
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (515, 'V0515__internal_next_batch_v1.sql');
