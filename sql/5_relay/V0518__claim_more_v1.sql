SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_claim_more_v1;

DELIMITER $$

CREATE PROCEDURE outbox_claim_more_v1 (
  IN p_relay TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_limit INT,
  IN p_wait_ms INT
)
COMMENT '
Goes on with a relay''s round: returns what was enqueued since the last claim of this session, while what that has returned is
not marked yet. So that many small batches have one mark, which is most of what a small batch costs. Kafka must have
acknowledged all that was returned before. What it has refused is marked first, and then comes outbox_claim_v1.

It neither renews the lease nor shares slots, and makes no search: where one is needed it returns nothing at once. Then,
and after some time in any case, the relay marks what it has and calls outbox_claim_v1.

Parameters
  p_relay TEXT, 1 to 128 characters: the relay
  p_limit INT: messages at most; NULL or 0: 100
  p_wait_ms INT: how long to wait here for work, in milliseconds, at most 60000; NULL: 0

Result set: as that of outbox_claim_v1.

Order: as that of outbox_claim_v1. What was returned before, and is not marked, is sent before what is returned now.

Errors
  30001 p_relay is NULL or empty; 30002 too long
  30005 p_limit or p_wait_ms is out of range
  30006 called inside a transaction

Called by: relays. Owns its transactions: call it outside of one.

Example
  mysql> CALL outbox_claim_more_v1(''relay-a'', 1000, 50);
  +----+----------------------+-------+-------------+---------------------+---------+-----+----------------------------+
  | id | biz_type             | topic | message_key | value               | headers | ... | receipt                    |
  +----+----------------------+-------+-------------+---------------------+---------+-----+----------------------------+
  |  2 | chat_history_persist | chat  | c-1         | {"user_id":7,...}   | NULL    | ... | 2026-01-01 12:00:00.131415 |
  +----+----------------------+-------+-------------+---------------------+---------+-----+----------------------------+
'
SQL SECURITY DEFINER
READS SQL DATA
BEGIN
  DECLARE v_limit INT DEFAULT COALESCE(NULLIF(p_limit, 0), 100);
  DECLARE v_began DATETIME(6) DEFAULT UTC_TIMESTAMP(6);
  DECLARE v_until DATETIME(6) DEFAULT v_began + INTERVAL COALESCE(p_wait_ms, 0) * 1000 MICROSECOND;
  DECLARE v_sleep_seconds DOUBLE DEFAULT 0.002;
  DECLARE v_claimed INT;

  IF COALESCE(CHAR_LENGTH(p_relay), 0) NOT BETWEEN 1 AND 128 THEN
    CALL outbox_internal_reject_text_v1('p_relay', p_relay, 128);
  END IF;
  IF v_limit < 0 THEN
    CALL outbox_internal_raise_v1(30005, CONCAT('p_limit must not be negative: ', p_limit));
  END IF;
  IF COALESCE(p_wait_ms, 0) NOT BETWEEN 0 AND 60000 THEN
    CALL outbox_internal_raise_v1(30005, CONCAT('p_wait_ms must be from 0 to 60000: ', p_wait_ms));
  END IF;

  CALL outbox_internal_require_no_transaction_v1('outbox_claim_more_v1');
  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION
    BEGIN
      ROLLBACK AND NO CHAIN NO RELEASE;
      RESIGNAL;
    END;
    IF @outbox_claimer <=> CONCAT(DATABASE(), '/', p_relay) AND @outbox_through IS NOT NULL THEN
      look: LOOP
        CALL outbox_internal_claim_new_v1(p_relay, v_limit, TRUE, v_claimed);
        -- Earlier than it began: the clock was set back.
        IF v_claimed IS NULL OR v_claimed > 0 OR UTC_TIMESTAMP(6) NOT BETWEEN v_began AND v_until - INTERVAL 1 MICROSECOND THEN
          LEAVE look;
        END IF;
        CALL outbox_internal_wait_for_work_v1(@outbox_through, FALSE, v_until, v_sleep_seconds);
      END LOOP;
    END IF;
    IF NOT COALESCE(v_claimed, 0) THEN
      SELECT m.id, m.biz_type, m.topic, m.message_key, m.body AS value, m.content_type, m.headers, m.created_at, m.next_retry_at AS receipt
        FROM agent_outbox_messages AS m
       LIMIT 0;
    END IF;
  END;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (518, 'V0518__claim_more_v1.sql');
