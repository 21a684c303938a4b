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

Result set, by id: id, outcome, error. A record is done with whatever its outcome, and the consumer commits its offset;
but for not reached:
  consumed   the effect and the mark are committed
  duplicate  it was consumed before
  unknown    no such message: purged, or a foreign record
  dead       it was dead before, or is now: the payload does not fit, or max_retry is reached; error says why
  failed     pending again, to be sent again after the backoff; error says why
  deferred   an earlier message of its topic and key is not final yet: pending again, to be sent again behind it
  not reached  the handlers of others have taken long: give it to the next call

Errors
  30003 p_messages is not JSON; 30006 called inside a transaction
  1213, 1205 on a message of the outbox or, but for handlers, on chat_histories, and other errors of the server:
    everything is rolled back; call again

Order: where the business type is ordered by key, a message takes effect only when no earlier one of its topic and
key is pending or published, whichever copy of which record arrives when.

Fairness: handlers run for one message of each key, then for the next of each, and not after 100 ms have passed: so a
slow handler delays the later messages of its own key, and others by one message at a time.

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
  DECLARE v_id, v_last_id BIGINT UNSIGNED;
  DECLARE v_deadline DATETIME(6) DEFAULT UTC_TIMESTAMP(6) + INTERVAL 100000 MICROSECOND;
  DECLARE v_at, v_turn, v_last_turn INT;
  DECLARE v_error VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;
  -- Messages whose handler rolled everything back, with the errors: [[id, error], ...].
  DECLARE v_failed JSON DEFAULT '[]';
  -- Messages to be handled one by one, each with the last of its topic and key: [[id, turn, last_id], ...].
  DECLARE v_todo JSON;
  DECLARE v_lanes JSON;

  IF NOT COALESCE(JSON_VALID(p_messages), FALSE) THEN
    CALL outbox_internal_raise_v1(30003, CONCAT('p_messages is not valid JSON: ', COALESCE(LEFT(p_messages, 80), 'NULL')));
  END IF;
  CALL outbox_internal_require_no_transaction_v1('outbox_consume_v1');

  attempt: LOOP
    BEGIN
      DECLARE EXIT HANDLER FOR 30009
      BEGIN
        DECLARE EXIT HANDLER FOR SQLEXCEPTION
        BEGIN
          ROLLBACK;
          RESIGNAL;
        END;
        -- All is undone, what other messages had done included: this one has failed, and the batch begins anew.
        GET STACKED DIAGNOSTICS CONDITION 1 v_error = MESSAGE_TEXT;
        ROLLBACK;
        SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
        START TRANSACTION;
        CALL outbox_mark_failed_v1(v_id, v_error);
        COMMIT;
        SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
        SET v_failed = JSON_ARRAY_APPEND(v_failed, '$', JSON_ARRAY(v_id, v_error));
      END;
      DECLARE EXIT HANDLER FOR SQLEXCEPTION
      BEGIN
        ROLLBACK;
        RESIGNAL;
      END;
      CALL outbox_internal_open_batch_v1(p_messages);
      UPDATE JSON_TABLE(v_failed, '$[*]' COLUMNS (
               id BIGINT UNSIGNED PATH '$[0]',
               error VARCHAR(128) PATH '$[1]')) AS failed
        STRAIGHT_JOIN outbox_batch AS b ON b.id = failed.id
         SET b.outcome = 'failed',
             b.error = failed.error
       WHERE b.outcome = 'todo';
      SELECT JSON_ARRAYAGG(JSON_ARRAY(lane, topic, message_key, last_id))
        INTO v_lanes
        FROM (
          SELECT lane, topic, message_key, MAX(id) AS last_id
            FROM outbox_batch
           WHERE outcome = 'todo' AND lane IS NOT NULL
           GROUP BY lane, topic, message_key
        ) AS lanes;
      CALL outbox_internal_defer_v1(v_lanes);
      CALL outbox_internal_write_chat_histories_v1();
      SELECT JSON_ARRAYAGG(JSON_ARRAY(todo.id, todo.turn, todo.last_id))
        INTO v_todo
        FROM (
          SELECT id, ROW_NUMBER() OVER (each_lane ORDER BY id) AS turn, MAX(id) OVER each_lane AS last_id
            FROM outbox_batch
           WHERE outcome = 'todo'
          WINDOW each_lane AS (PARTITION BY lane, topic, message_key, IF(lane IS NULL, id, 0))
           ORDER BY turn, id
           LIMIT 18446744073709551615
        ) AS todo;
      SET v_at = 0, v_last_turn = 1;
      one_by_one: WHILE v_at < JSON_LENGTH(v_todo) DO
        SET v_id = JSON_EXTRACT(v_todo, CONCAT('$[', v_at, '][0]')),
            v_turn = JSON_EXTRACT(v_todo, CONCAT('$[', v_at, '][1]')),
            v_last_id = JSON_EXTRACT(v_todo, CONCAT('$[', v_at, '][2]')),
            v_at = v_at + 1;
        IF v_turn > v_last_turn AND UTC_TIMESTAMP(6) > v_deadline THEN
          UPDATE outbox_batch SET outcome = 'not reached' WHERE outcome = 'todo';
          LEAVE one_by_one;
        END IF;
        SET v_last_turn = v_turn;
        -- A failure before it may have deferred it.
        IF EXISTS (SELECT 1 FROM outbox_batch WHERE id = v_id AND outcome = 'todo') THEN
          CALL outbox_internal_handle_v1(v_id, v_last_id);
        END IF;
      END WHILE;
      COMMIT;
      LEAVE attempt;
    END;
  END LOOP;

  SELECT id, outcome, error FROM outbox_batch ORDER BY id;
  COMMIT;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (611, 'V0611__consume_v1.sql');
