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
one transaction; one bad message harms no other.

Parameters
  p_messages LONGTEXT: JSON array of {"id": the outbox id, "payload": the record''s value as a JSON text (or as JSON)},
    by ascending id: that is the order in which the messages are locked

Result set, by id: id, outcome, error. A record is done with, and the consumer commits its offset, whatever the
outcome, except for not reached:
  consumed     the effect and the mark are committed
  duplicate    it was consumed before
  unknown      no such message: purged, or a foreign record
  dead         it was dead before, or is now: the payload does not fit, or max_retry is reached; error says why
  failed       pending again, to be sent again after the backoff; error says why
  deferred     an earlier message of its lane (topic and key) is not final yet: pending again, to be sent behind it
  not reached  the handlers of others took too long, or the server found the transaction too large: give it to the next
               call

Errors
  30003 p_messages is not JSON; 30006 called inside a transaction
  1205, 1213 no lock on a message of the outbox, or for a batch handler, or on a table that a handler needs, and the
    errors of outbox_internal_judge_error_v1, which are the server''s own: everything is rolled back, no failure is
    counted; call again

Order: where the business type is ordered by key, a message takes effect only when no earlier one of its lane is pending
or published, whichever copy of which record arrives when.

Speed: the messages of business types that have a batch handler are given to it together, where no other message must
come first. All others are handled one by one.

Fairness: handlers run for one message of each lane, then for the next of each, and not after 100 ms have passed. So a
slow handler delays the later messages of its own lane, and others by one message at a time.

Called by: consumers. Owns its transaction (READ COMMITTED). Locks: messages by ascending id, then what handlers lock.

Example
  mysql> CALL outbox_consume_v1(''[{"id":1,"payload":{"user_id":7,"conversation_id":"c-1","role":"user","message":"hi"}}]'');
  +----+----------+-------+
  | id | outcome  | error |
  +----+----------+-------+
  |  1 | consumed | NULL  |
  +----+----------+-------+
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_patience_us INT DEFAULT 100000;
  DECLARE v_deadline DATETIME(6) DEFAULT UTC_TIMESTAMP(6) + INTERVAL v_patience_us MICROSECOND;
  DECLARE v_error VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;
  -- Messages whose handler rolled everything back, or that are too large alone, with the errors: [[id, error], ...].
  DECLARE v_failed JSON DEFAULT '[]';
  DECLARE v_in_bulk BOOLEAN DEFAULT TRUE;
  DECLARE v_batch_handler VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;
  DECLARE v_id, v_last_id, v_most BIGINT UNSIGNED;
  DECLARE v_errno, v_messages INT;
  DECLARE v_skipped INT DEFAULT 0;
  DECLARE v_any INT DEFAULT 1000000;
  -- A batch of the daemon stays far below: 8 MiB of payload, and what handlers make of them.
  DECLARE v_ample_bytes BIGINT UNSIGNED DEFAULT 268435456;
  DECLARE v_trouble TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;
  DECLARE v_verdict VARCHAR(8) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;

  IF NOT COALESCE(JSON_VALID(p_messages), FALSE) THEN
    CALL outbox_internal_raise_v1(30003, CONCAT('p_messages is not valid JSON: ', COALESCE(LEFT(p_messages, 80), 'NULL')));
  END IF;
  CALL outbox_internal_require_no_transaction_v1('outbox_consume_v1');

  attempt: LOOP
    BEGIN
      -- A batch handler has undone what others had done: the batch begins anew, without batch handlers.
      DECLARE EXIT HANDLER FOR 30010
      BEGIN
        ROLLBACK;
        SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
        SET v_in_bulk = FALSE;
      END;
      -- A handler has: its message has failed, and the batch begins anew, without it.
      DECLARE EXIT HANDLER FOR 30009
      BEGIN
        DECLARE EXIT HANDLER FOR SQLEXCEPTION
        BEGIN
          ROLLBACK;
          RESIGNAL;
        END;
        GET STACKED DIAGNOSTICS CONDITION 1 v_error = MESSAGE_TEXT;
        ROLLBACK;
        SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
        START TRANSACTION;
        CALL outbox_mark_failed_v1(v_id, v_error);
        COMMIT;
        SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
        SET v_failed = JSON_ARRAY_APPEND(v_failed, '$', JSON_ARRAY(v_id, v_error));
      END;
      -- If the transaction was too large for the server, the batch begins anew with half as many.
      DECLARE EXIT HANDLER FOR SQLEXCEPTION
      BEGIN
        GET STACKED DIAGNOSTICS CONDITION 1 v_errno = MYSQL_ERRNO, v_trouble = MESSAGE_TEXT;
        SET v_messages = COALESCE(v_most, GREATEST(2, JSON_LENGTH(p_messages)));
        CALL outbox_internal_shrink_v1(v_errno, v_messages, v_messages, v_most, v_skipped, v_verdict);
        IF v_verdict = 'raise' THEN
          RESIGNAL;
        ELSEIF v_verdict = 'alone' THEN
          CALL outbox_internal_bury_v1(v_last_id, v_trouble);
          SET v_failed = JSON_ARRAY_APPEND(v_failed, '$', JSON_ARRAY(v_last_id, LEFT(v_trouble, 128)));
        END IF;
      END;
      CALL outbox_internal_open_batch_v1(p_messages, v_failed);
      IF v_most IS NOT NULL OR @@GLOBAL.max_binlog_cache_size < v_ample_bytes THEN
        CALL outbox_internal_cut_batch_v1(COALESCE(v_most, v_any), v_last_id);
      END IF;
      CALL outbox_internal_defer_v1(NULL);
      SET v_batch_handler = '';
      in_bulk: WHILE v_in_bulk DO
        SELECT MIN(batch_handler) INTO v_batch_handler FROM outbox_batch WHERE outcome = 'todo' AND batch_handler > v_batch_handler;
        IF v_batch_handler IS NULL THEN
          LEAVE in_bulk;
        END IF;
        CALL outbox_internal_handle_in_bulk_v1(v_batch_handler);
      END WHILE;
      CALL outbox_internal_take_turns_v1();
      SET v_id = NULL;
      one_by_one: LOOP
        CALL outbox_internal_next_turn_v1(v_deadline, v_id);
        IF v_id IS NULL THEN
          LEAVE one_by_one;
        END IF;
        CALL outbox_internal_handle_v1(v_id);
      END LOOP;
      COMMIT;
      LEAVE attempt;
    END;
  END LOOP;

  SELECT id, outcome, error FROM outbox_batch ORDER BY id;
  COMMIT;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (611, 'V0611__consume_v1.sql');
