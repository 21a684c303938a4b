SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_consume_v1;

DELIMITER $$

CREATE PROCEDURE outbox_consume_v1 (
  IN p_messages LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin
)
COMMENT '
Consumes a batch: each message takes effect through the handler of its business type and is marked consumed, all in
one transaction; one bad message harms no other. The payload is the outbox''s own, never the record''s: a record says only
which message has arrived.

Parameters
  p_messages LONGTEXT: JSON array of {"id": the record''s ce_id, "created_at": its ce_time in UTC, "topic": its topic,
    "key": its key, "partition" and "offset": where it is}, by ascending id: that is the order in which the messages are
    locked. created_at, topic and key must agree with the message''s row. All but id and created_at may be left out.

Result set, by id: id, outcome, error. A record is done with, and the consumer commits its offset, whatever the
outcome, except for not reached:
  consumed     the effect and the mark are committed
  duplicate    it was consumed before, or its business type has no handler: now it is consumed, if it was not
  unknown      no such message: purged, or a foreign record
  foreign      the message with this id is another one: error says in what; nothing is changed
  dead         it was dead before, or is now: the payload does not fit, or max_retry is reached; error says why
  failed       pending again, to be sent again after the backoff; error says why
  deferred     an earlier message of its lane (topic and key) is not final yet, or its handler waits for a lock that
               another session holds: pending again, to be sent later; no failure is counted
  not reached  another session has locked the message or one before it in its lane (error says which), or the handlers
               took too long, or one of its type has waited in vain for a lock, or the payloads are too many bytes for
               one transaction: give it to the next call

Errors
  30003 p_messages is not JSON; 30006 called inside a transaction
  1205 the table of the messages is locked, 1213, and the errors of outbox_internal_judge_error_v1, which are the
    server''s own: everything is rolled back, no failure is counted; call again

Order: where the business type is ordered by key, a message takes effect only when no earlier one of its lane is pending
or published, whichever copy of which record arrives when.

Speed: the messages of business types that have a batch handler are given to it together, where no other message must
come first. All others are handled one by one.

Fairness: handlers run for one message of each lane, then for the next of each. After 5 ms of its handler, no further
message of a business type begins, whatever the other types take. So a slow handler delays the later messages of its own
type, and the others by little. A handler that waits in vain for a lock makes the others of a call wait once, for
innodb_lock_wait_timeout (lock_wait_timeout for the lock of a whole table).

Afterwards the session variable @outbox_times says how long which handlers took, those for one message and those for
many: [{"type": microseconds, ...}, {"type": microseconds, ...}].

Called by: consumers. Owns its transaction (READ COMMITTED). Locks: messages by ascending id, then what handlers lock.

Example
  mysql> CALL outbox_consume_v1(''[{"id":1,"created_at":"2026-01-01 12:00:00.123456","topic":"chat","key":"c-1"}]'');
  +----+----------+-------+
  | id | outcome  | error |
  +----+----------+-------+
  |  1 | consumed | NULL  |
  +----+----------+-------+
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
main: BEGIN
  DECLARE v_error VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;
  -- Messages whose handler rolled everything back, or that are too large alone, with the errors: [[id, error], ...].
  DECLARE v_failed JSON DEFAULT '[]';
  DECLARE v_is_alone, v_in_bulk BOOLEAN DEFAULT TRUE;
  DECLARE v_has_waited BOOLEAN DEFAULT FALSE;
  -- Of each business type: whether it has waited in vain for a lock, and the microseconds of its handler.
  DECLARE v_waits, v_times, v_bulk_times JSON DEFAULT '{}';
  DECLARE v_most_bytes BIGINT UNSIGNED;
  DECLARE v_batch_handler VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;
  DECLARE v_turn INT;
  DECLARE v_id, v_first_id, v_bytes BIGINT UNSIGNED;
  DECLARE v_errno INT;
  DECLARE v_messages, v_skipped, v_todo, v_duplicates INT DEFAULT 0;
  DECLARE v_trouble TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;
  DECLARE v_verdict VARCHAR(8) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;

  IF NOT COALESCE(JSON_VALID(p_messages), FALSE) THEN
    CALL outbox_internal_raise_v1(30003, CONCAT('p_messages is not valid JSON: ', COALESCE(LEFT(p_messages, 80), 'NULL')));
  END IF;
  CALL outbox_internal_require_no_transaction_v1('outbox_consume_v1');

  attempt: LOOP
    BEGIN
      -- A batch handler, or a lock wait, has undone what others had done: the batch begins anew, without batch handlers.
      DECLARE EXIT HANDLER FOR 30010
      BEGIN
        ROLLBACK AND NO CHAIN NO RELEASE;
        SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
        SET v_in_bulk = FALSE;
      END;
      -- A handler has: its message has failed, and the batch begins anew, without it.
      DECLARE EXIT HANDLER FOR 30009
      BEGIN
        DECLARE EXIT HANDLER FOR SQLEXCEPTION
        BEGIN
          ROLLBACK AND NO CHAIN NO RELEASE;
          RESIGNAL;
        END;
        GET STACKED DIAGNOSTICS CONDITION 1 v_errno = MYSQL_ERRNO, v_error = MESSAGE_TEXT;
        ROLLBACK AND NO CHAIN NO RELEASE;
        SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
        START TRANSACTION;
        CALL outbox_internal_mark_failed_v1(v_id, v_error, 'consumer', v_errno);
        COMMIT AND NO CHAIN NO RELEASE;
        SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
        SET v_failed = JSON_ARRAY_APPEND(v_failed, '$', JSON_ARRAY(v_id, v_error));
      END;
      -- If the transaction was too large for the server, the batch begins anew with half of it.
      DECLARE EXIT HANDLER FOR SQLEXCEPTION
      BEGIN
        GET STACKED DIAGNOSTICS CONDITION 1 v_errno = MYSQL_ERRNO, v_trouble = MESSAGE_TEXT;
        CALL outbox_internal_shrink_v1(v_errno, v_messages, v_bytes, v_most_bytes, v_skipped, v_verdict);
        IF v_verdict = 'raise' THEN
          RESIGNAL;
        ELSEIF v_verdict = 'alone' THEN
          CALL outbox_internal_bury_v1(v_first_id, v_trouble);
          SET v_failed = JSON_ARRAY_APPEND(v_failed, '$', JSON_ARRAY(v_first_id, LEFT(v_trouble, 128)));
        END IF;
        -- What handlers did is undone: without their time again, this call and each after it would reach nothing.
        SET v_times = '{}';
      END;
      IF v_is_alone AND JSON_LENGTH(p_messages) = 1 AND @outbox_held IS NULL THEN
        -- As if of two: if it is too large for the server, the next attempt finds out that it is so alone.
        SET v_is_alone = FALSE, v_messages = 2;
        CALL outbox_internal_consume_alone_v1(p_messages, v_waits, v_times, v_id, v_trouble);
        IF v_id IS NOT NULL THEN
          COMMIT AND NO CHAIN NO RELEASE;
          SET @outbox_times = JSON_ARRAY(v_times, v_bulk_times);
          SELECT v_id AS id, 'consumed' AS outcome, v_trouble AS error;
          LEAVE main;
        END IF;
        ROLLBACK AND NO CHAIN NO RELEASE;
        SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
        SET v_times = '{}', v_has_waited = JSON_LENGTH(v_waits) > 0;
      END IF;
      SET v_messages = 0;
      CALL outbox_internal_open_batch_v1(p_messages, v_failed, v_most_bytes, v_messages, v_bytes, v_first_id, v_duplicates);
      IF v_duplicates > 0 THEN
        CALL outbox_internal_accept_arrived_v1('duplicate');
      END IF;
      IF v_has_waited THEN
        CALL outbox_internal_set_back_v1(JSON_ARRAY(JSON_EXTRACT(p_messages, '$[0].id')), v_trouble);
        SET v_has_waited = FALSE;
      END IF;
      IF @outbox_held IS NOT NULL THEN
        CALL outbox_internal_hold_types_v1();
      END IF;
      CALL outbox_internal_defer_v1(NULL);
      SET v_batch_handler = '';
      in_bulk: LOOP
        SELECT COUNT(*), MIN(IF(v_in_bulk AND batch_handler > v_batch_handler, batch_handler, NULL))
          INTO v_todo, v_batch_handler
          FROM outbox_batch
         WHERE outcome = 'todo';
        IF v_batch_handler IS NULL THEN
          LEAVE in_bulk;
        END IF;
        CALL outbox_internal_handle_in_bulk_v1(v_batch_handler, v_waits, v_bulk_times);
      END LOOP;
      IF v_todo > 0 THEN
        CALL outbox_internal_take_turns_v1();
      END IF;
      SET v_turn = 1, v_id = 0;
      one_by_one: WHILE v_todo > 0 DO
        CALL outbox_internal_next_turn_v1(v_times, v_waits, v_turn, v_id);
        IF v_id IS NULL THEN
          LEAVE one_by_one;
        END IF;
        CALL outbox_internal_handle_v1(v_id, v_waits, v_times);
      END WHILE;
      COMMIT AND NO CHAIN NO RELEASE;
      LEAVE attempt;
    END;
  END LOOP;

  SET @outbox_times = JSON_ARRAY(v_times, v_bulk_times);
  SELECT id, IF(outcome = 'offered', 'consumed', outcome) AS outcome, error FROM outbox_batch ORDER BY id;
  COMMIT AND NO CHAIN NO RELEASE;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (611, 'V0611__consume_v1.sql');
