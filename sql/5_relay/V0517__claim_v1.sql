SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_claim_v1;

DELIMITER $$

CREATE PROCEDURE outbox_claim_v1 (
  IN p_relay TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_limit INT,
  IN p_lease_seconds INT,
  IN p_wait_ms INT
)
COMMENT '
Starts a round of a relay: renews the lease, takes or gives back slots, and returns the next batch of its slots.
Claiming changes no message that it returns. The same messages are returned again until they are marked, so a relay marks a batch
(outbox_mark_published_batch_v1, _mark_failed_batch_v1, _mark_dead_batch_v1) before it claims the next, on the same
connection.

Parameters
  p_relay TEXT, 1 to 128 characters: the relay; two relays must not share a name
  p_limit INT: messages at most; NULL or 0: 100. The batch also ends where its mark would not fit into one transaction
    of the server any more (16 MiB of payload, see outbox_internal_fit_v1); a larger message comes alone
  p_lease_seconds INT: how long the slots stay with a relay that does not call, by this server''s clock; NULL: 30
  p_wait_ms INT: how long to wait here for work, in milliseconds, at most 60000; NULL: 0. A claim that may wait looks at the
    slots twice a second, and for what is due after 20 ms, and less often while nothing is; one that may not, each time

Result set, by ascending id: id, biz_type, topic, message_key, value, content_type, headers, created_at, receipt.
value is what the record has as its value, as bytes: the payload, or what outbox_enqueue_bytes_v1 has stored; NULL is a
tombstone. content_type is empty where the record shall have none. receipt is what the marks want back: it changes whenever the message returns to pending, so that a mark that comes late, after the
consumer has already sent the message back, does nothing.

Where the last claim of the session has left nothing behind, a claim that may wait looks at what was enqueued since, and
searches the queues of all its slots once a second (outbox_internal_claim_new_v1).

Order: a message is not returned while an earlier one of its lane (topic and key) is pending and not in the same
batch: one that waits for its retry, that a transaction has inserted and not committed, or that is about to be
inserted. So messages behind an id that has no row, most often one that was rolled back, wait while a statement runs that
may insert it, for 100 ms at most.

Errors
  30001 p_relay is NULL or empty; 30002 too long
  30005 p_limit, p_lease_seconds or p_wait_ms is out of range
  30006 called inside a transaction

Called by: relays. Owns its transactions: call it outside of one. What a call keeps for the next is in variables of the
session, beside those of outbox_internal_next_batch_v1:
  @outbox_claimer     for which database and relay all of them hold; cleared where the relay has other slots
  @outbox_owned       how many slots it has, and @outbox_shared_at: since when it knows
  @outbox_joined      whether it has looked for what waits since before the clock was set back
  @outbox_woken_at    when it has last looked for what is due, and @outbox_wake_us: how long that is enough
  @outbox_sleep_seconds how long it has slept at last, where it has found nothing to hand out
  @outbox_searched_at when it has last searched the queues
  @outbox_through     up to this id they have nothing but what it has returned, and all ids are settled; NULL: not known
  @outbox_from        what it has returned and may not be marked yet has ids above this one

Example
  mysql> CALL outbox_claim_v1(''relay-a'', 1000, 30, 500);
  +----+----------------------+-------+-------------+---------------------+---------+-----+----------------------------+
  | id | biz_type             | topic | message_key | value               | headers | ... | receipt                    |
  +----+----------------------+-------+-------------+---------------------+---------+-----+----------------------------+
  |  1 | chat_history_persist | chat  | c-1         | {"user_id":7,...}   | NULL    | ... | 2026-01-01 12:00:00.123456 |
  +----+----------------------+-------+-------------+---------------------+---------+-----+----------------------------+
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_limit INT DEFAULT COALESCE(NULLIF(p_limit, 0), 100);
  DECLARE v_lease_seconds INT DEFAULT COALESCE(p_lease_seconds, 30);
  DECLARE v_began DATETIME(6) DEFAULT UTC_TIMESTAMP(6);
  DECLARE v_until DATETIME(6) DEFAULT v_began + INTERVAL COALESCE(p_wait_ms, 0) * 1000 MICROSECOND;
  DECLARE v_sleep_seconds DOUBLE DEFAULT 0.002;
  DECLARE v_share_us INT DEFAULT LEAST(500000, v_lease_seconds * 1000000 DIV 3);
  DECLARE v_search_us INT DEFAULT 1000000;
  DECLARE v_wake_us INT DEFAULT 20000;
  DECLARE v_longest_wake_us INT DEFAULT 320000;
  -- What was claimed is looked at again, whether it is marked, among so many ids.
  DECLARE v_span INT DEFAULT 4096;
  DECLARE v_claimer VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin DEFAULT CONCAT(DATABASE(), '/', p_relay);
  DECLARE v_now DATETIME(6);
  DECLARE v_top, v_woken BIGINT UNSIGNED;
  DECLARE v_batch, v_ids JSON;
  DECLARE v_messages, v_claimed INT;
  DECLARE v_bytes BIGINT UNSIGNED;
  DECLARE v_is_held, v_is_all, v_is_same, v_has_changed BOOLEAN;

  IF COALESCE(CHAR_LENGTH(p_relay), 0) NOT BETWEEN 1 AND 128 THEN
    CALL outbox_internal_reject_text_v1('p_relay', p_relay, 128);
  END IF;
  IF v_limit < 0 THEN
    CALL outbox_internal_raise_v1(30005, CONCAT('p_limit must not be negative: ', p_limit));
  END IF;
  IF v_lease_seconds NOT BETWEEN 1 AND 86400 THEN
    CALL outbox_internal_raise_v1(30005, CONCAT('p_lease_seconds must be from 1 to 86400: ', p_lease_seconds));
  END IF;
  IF COALESCE(p_wait_ms, 0) NOT BETWEEN 0 AND 60000 THEN
    CALL outbox_internal_raise_v1(30005, CONCAT('p_wait_ms must be from 0 to 60000: ', p_wait_ms));
  END IF;

  CALL outbox_internal_require_no_transaction_v1('outbox_claim_v1');
  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION
    BEGIN
      ROLLBACK AND NO CHAIN NO RELEASE;
      RESIGNAL;
    END;
    -- What this session keeps from the last claim holds for the same relay, and for the same slots.
    SET v_is_same = @outbox_claimer <=> v_claimer AND v_until > v_began;
    IF NOT COALESCE(v_is_same AND v_began BETWEEN @outbox_shared_at AND @outbox_shared_at + INTERVAL v_share_us MICROSECOND, FALSE) THEN
      CALL outbox_internal_share_slots_v1(p_relay, v_lease_seconds, @outbox_owned, v_has_changed);
      SET @outbox_shared_at = v_began, @outbox_claimer = IF(v_has_changed, NULL, @outbox_claimer);
    END IF;
    IF NOT @outbox_claimer <=> v_claimer THEN
      SET @outbox_claimer = v_claimer, @outbox_joined = NULL, @outbox_settled = NULL, @outbox_inserted = NULL, @outbox_doubts = NULL, @outbox_left = 0;
    END IF;
    IF NOT v_is_same THEN
      SET @outbox_woken_at = NULL, @outbox_through = NULL;
    END IF;

    IF v_is_same AND @outbox_sleep_seconds > v_sleep_seconds THEN
      SET v_sleep_seconds = @outbox_sleep_seconds;
    END IF;

    search: LOOP
      SET v_now = UTC_TIMESTAMP(6), v_woken = NULL, v_claimed = NULL;
      IF NOT COALESCE(v_now BETWEEN @outbox_woken_at AND @outbox_woken_at + INTERVAL @outbox_wake_us MICROSECOND, FALSE) THEN
        CALL outbox_internal_wake_v1(p_relay, @outbox_joined IS NULL, v_woken);
        SET @outbox_wake_us = IF(v_woken IS NULL AND @outbox_woken_at IS NOT NULL, LEAST(@outbox_wake_us * 2, v_longest_wake_us), v_wake_us);
        SET @outbox_joined = TRUE, @outbox_woken_at = v_now;
      END IF;
      IF v_woken IS NULL AND @outbox_through IS NOT NULL AND v_now BETWEEN @outbox_searched_at AND @outbox_searched_at + INTERVAL v_search_us MICROSECOND THEN
        CALL outbox_internal_claim_new_v1(p_relay, v_limit, FALSE, v_claimed);
        SET v_top = @outbox_through, v_is_held = FALSE;
      END IF;
      IF v_claimed IS NULL THEN
        CALL outbox_internal_next_batch_v1(p_relay, v_limit, @outbox_owned, v_woken, v_top, v_batch, v_is_held, v_is_all);
        SET @outbox_through = IF(v_is_all, v_top, NULL), @outbox_from = v_top, @outbox_searched_at = v_now;
      END IF;
      -- Earlier than it began: the clock was set back.
      IF v_claimed > 0 OR v_batch IS NOT NULL OR UTC_TIMESTAMP(6) NOT BETWEEN v_began AND v_until - INTERVAL 1 MICROSECOND THEN
        LEAVE search;
      END IF;
      -- Twice as long as the search took: one behind a large open transaction must not keep the server busy. A statement that
      -- is inserting ends soon.
      SET v_sleep_seconds = GREATEST(IF(@outbox_doubts IS NULL, v_sleep_seconds, LEAST(v_sleep_seconds, 0.002)), 2e-6 * TIMESTAMPDIFF(MICROSECOND, v_now, UTC_TIMESTAMP(6)));
      CALL outbox_internal_wait_for_work_v1(v_top, v_is_held, v_until, v_sleep_seconds);
    END LOOP;

    SET @outbox_sleep_seconds = IF(COALESCE(v_claimed, 0) = 0 AND v_batch IS NULL, v_sleep_seconds, NULL);

    IF NOT COALESCE(v_claimed, 0) THEN
      SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
      START TRANSACTION;
      SELECT JSON_ARRAYAGG(head.id)
        INTO v_ids
        FROM (
          SELECT DISTINCT id
            FROM JSON_TABLE(COALESCE(v_batch, '[]'), '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$')) AS found
           ORDER BY id
           LIMIT v_limit
        ) AS head;
      CALL outbox_internal_fit_v1(v_ids, NULL, v_messages, v_bytes);
      SELECT m.id, m.biz_type, m.topic, m.message_key, IF(m.content_type IS NULL, CAST(CONVERT(m.payload USING utf8mb4) AS BINARY), m.body) AS value,
             COALESCE(m.content_type, 'application/json') AS content_type, m.headers, m.created_at, m.next_retry_at AS receipt
        FROM JSON_TABLE(COALESCE(v_ids, '[]'), '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$')) AS head
        STRAIGHT_JOIN agent_outbox_messages AS m FORCE INDEX (PRIMARY) ON m.id = head.id
       WHERE m.status = 'pending'
       ORDER BY head.id;
      COMMIT AND NO CHAIN NO RELEASE;
      IF v_batch IS NOT NULL THEN
        SET @outbox_from = CAST(JSON_EXTRACT(v_ids, '$[0]') AS UNSIGNED) - 1;
        SET @outbox_through = IF(v_messages = JSON_LENGTH(v_batch) AND @outbox_through - @outbox_from <= v_span, @outbox_through, NULL);
      END IF;
    END IF;
  END;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (517, 'V0517__claim_v1.sql');
