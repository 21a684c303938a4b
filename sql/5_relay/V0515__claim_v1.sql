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
One round of a relay begins: heartbeat, take or give back slots, and the next batch of the relay''s slots.
Claiming changes no message. The same messages are returned again until they are marked, so a relay marks a batch
(outbox_mark_published_batch_v1 and its two sisters) before it claims the next, on the same connection.

Parameters
  p_relay TEXT, 1 to 128 characters: the relay; two relays must not share a name
  p_limit INT: messages at most; NULL or 0: 100
  p_lease_seconds INT: how long the slots stay with a relay that does not call, by this server''s clock; NULL: 30
  p_wait_ms INT: how long to wait here for work, in milliseconds, at most 60000; NULL: 0

Result set, by ascending id: id, biz_type, topic, message_key, payload, headers, created_at, and receipt, which the
marks want back: it changes whenever the message returns to pending, so that a mark that comes late, after the
consumer has already sent the message back, does nothing.

Order: a message is not returned while an earlier one of its topic and key is pending and not in the same batch, be
it waiting for its retry, inserted by a transaction that has not committed yet, or about to be inserted. So messages
behind an id that has no row, which most often is one that was rolled back, wait for up to 100 ms.

Errors
  30001 p_relay is NULL or empty; 30002 too long
  30005 p_limit, p_lease_seconds or p_wait_ms is out of range
  30006 called inside a transaction

Called by: relays. Owns its transactions: call it outside of one.

Example
  mysql> CALL outbox_claim_v1(''relay-a'', 1000, 30, 500);
  +----+----------------------+-------+-------------+---------------------+---------+-----+----------------------------+
  | id | biz_type             | topic | message_key | payload             | headers | ... | receipt                    |
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
  DECLARE v_deadline DATETIME(6) DEFAULT v_began + INTERVAL COALESCE(p_wait_ms, 0) * 1000 MICROSECOND;
  DECLARE v_pause DOUBLE DEFAULT 0.002;
  DECLARE v_owned, v_wide, v_read, v_left INT;
  DECLARE v_top, v_new_top BIGINT UNSIGNED;
  DECLARE v_heads, v_late JSON;
  DECLARE v_gap BIGINT UNSIGNED;
  DECLARE v_held BOOLEAN;
  DECLARE v_look_again_at DATETIME(6);

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
      ROLLBACK;
      RESIGNAL;
    END;
    CALL outbox_internal_share_slots_v1(p_relay, v_lease_seconds, v_owned);

    work: LOOP
      SET v_wide = v_limit;
      wide: LOOP
        CALL outbox_internal_find_unsettled_v1(v_top, v_late, v_gap);
        CALL outbox_internal_read_heads_v1(p_relay, v_wide, v_owned, v_top, v_heads);
        SET v_held = FALSE, v_read = COALESCE(JSON_LENGTH(v_heads), 0);
        IF v_heads IS NOT NULL THEN
          CALL outbox_internal_hold_back_v1(v_heads, v_late, v_gap, v_held);
        END IF;
        -- Where what is held back fills the batch, others are behind it: an open transaction delays no other keys.
        SET v_left = COALESCE(JSON_LENGTH(v_heads), 0);
        IF NOT v_held OR v_read * 2 < v_wide OR v_left * 2 >= v_limit OR v_wide >= 100000 THEN
          LEAVE wide;
        END IF;
        SET v_wide = LEAST(v_wide * 4, 100000);
      END LOOP;
      IF v_left > v_limit THEN
        SET v_heads = JSON_EXTRACT(v_heads, CONCAT('$[0 to ', v_limit - 1, ']'));
      END IF;
      -- Before it began: the clock was set back.
      IF v_heads IS NOT NULL OR UTC_TIMESTAMP(6) >= v_deadline OR UTC_TIMESTAMP(6) < v_began THEN
        LEAVE work;
      END IF;

      -- Nothing to send. One look at the end of the table tells whether there may be something new; what a failure
      -- or an operator brought back to pending is found by looking at the heads again once a second.
      SET v_look_again_at = LEAST(v_deadline, UTC_TIMESTAMP(6) + INTERVAL 1 SECOND);
      pause: LOOP
        DO SLEEP(IF(v_wide < 100000, v_pause, 0.5));
        SET v_pause = LEAST(v_pause * 1.5, 0.05);
        -- Under autocommit there is nothing to end, and it would be a third of what an idle relay costs.
        IF @@autocommit THEN
          SELECT COALESCE(MAX(id), 0) INTO v_new_top FROM agent_outbox_messages;
        ELSE
          SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
          SELECT COALESCE(MAX(id), 0) INTO v_new_top FROM agent_outbox_messages;
          COMMIT;
        END IF;
        IF v_held OR v_new_top <> v_top OR UTC_TIMESTAMP(6) >= v_look_again_at OR UTC_TIMESTAMP(6) < v_began THEN
          LEAVE pause;
        END IF;
      END LOOP;
    END LOOP;

    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    SELECT m.id, m.biz_type, m.topic, m.message_key, m.payload, m.headers, m.created_at, m.next_retry_at AS receipt
      FROM JSON_TABLE(COALESCE(v_heads, '[]'), '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$[0]')) AS head
      STRAIGHT_JOIN agent_outbox_messages AS m FORCE INDEX (PRIMARY) ON m.id = head.id
     WHERE m.status = 'pending'
     ORDER BY head.id;
    COMMIT;
  END;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (515, 'V0515__claim_v1.sql');
