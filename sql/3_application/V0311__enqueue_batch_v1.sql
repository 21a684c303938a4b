SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_enqueue_batch_v1;

DELIMITER $$

CREATE PROCEDURE outbox_enqueue_batch_v1 (
  IN p_messages LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  OUT p_enqueued INT
)
COMMENT '
Puts many messages into the outbox in one call, in the order of the array: all of them or none.
It joins the caller''s transaction and never commits: the messages exist if and only if that transaction commits.

Parameters
  p_messages LONGTEXT: a JSON array of objects, each with these, and any of the options of
    outbox_enqueue_with_options_v1 beside them:
    "biz_type", "topic", "key": strings, as the arguments of outbox_enqueue_v1
    "payload": a string: the JSON text itself, kept byte for byte; or any other JSON value, which is stored as MySQL
      writes it, with the keys of objects in another order
  OUT p_enqueued INT: how many messages were stored: all, but those with a dedup_key that another message has

Errors (nothing is stored), with the position of the element, from 0, in the text: p_messages[3].topic must not be NULL
  30003 p_messages is not a JSON array
  30012 an element is not an object, or a member of it is not a string where it must be
  30001, 30002, 30003, 30005, 30011, 30012, 30013, 30014, 1205, 1213: as outbox_enqueue_with_options_v1

Called by: applications. Transaction: the caller''s; has one of its own under autocommit. Uses a savepoint of the name
outbox_enqueue_batch.

Example
  mysql> CALL outbox_enqueue_batch_v1(''[
      ->   {"biz_type": "order_placed", "topic": "orders", "key": "Ada", "payload": {"order": 1}},
      ->   {"biz_type": "order_placed", "topic": "orders", "key": "Bob", "payload": "{\"order\": 2}", "delay_seconds": 60}]'', @enqueued);
  mysql> SELECT @enqueued;
  +-----------+
  | @enqueued |
  +-----------+
  |         2 |
  +-----------+
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_messages JSON;
  DECLARE v_is_plain BOOLEAN;
  DECLARE v_is_own_transaction BOOLEAN DEFAULT FALSE;
  -- Parsed once: JSON_VALID would parse it a second time.
  DECLARE EXIT HANDLER FOR 3140
    CALL outbox_internal_raise_v1(30003, CONCAT('p_messages is not a JSON array: ', LEFT(p_messages, 80)));
  DECLARE EXIT HANDLER FOR 3157
    CALL outbox_internal_raise_v1(30003, CONCAT('p_messages is nested deeper than 100 levels: ', LEFT(p_messages, 60)));

  IF p_messages IS NULL THEN
    CALL outbox_internal_raise_v1(30001, 'p_messages must not be NULL');
  END IF;
  SET v_messages = p_messages;
  IF NOT COALESCE(JSON_TYPE(v_messages) COLLATE utf8mb4_0900_bin = 'ARRAY', FALSE) THEN
    CALL outbox_internal_raise_v1(30003, CONCAT('p_messages is not a JSON array: ', LEFT(p_messages, 80)));
  END IF;
  IF @@SESSION.insert_id <> 0 THEN
    CALL outbox_internal_raise_v1(30011, CONCAT('insert_id is set in this session, to ', @@SESSION.insert_id, ': ids are given out by the outbox'));
  END IF;
  CALL outbox_internal_begin_v1(v_is_own_transaction);
  SAVEPOINT outbox_enqueue_batch;
  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION
    BEGIN
      -- After a deadlock there is no savepoint any more.
      DECLARE CONTINUE HANDLER FOR 1305 BEGIN END;
      ROLLBACK TO SAVEPOINT outbox_enqueue_batch;
      IF v_is_own_transaction THEN
        ROLLBACK AND NO CHAIN NO RELEASE;
      END IF;
      RESIGNAL;
    END;
    CALL outbox_internal_enqueue_set_v1(v_messages, p_enqueued, v_is_plain);
    IF NOT v_is_plain THEN
      ROLLBACK TO SAVEPOINT outbox_enqueue_batch;
      CALL outbox_internal_enqueue_each_v1(v_messages, p_enqueued);
    END IF;
  END;
  RELEASE SAVEPOINT outbox_enqueue_batch;
  IF v_is_own_transaction THEN
    COMMIT AND NO CHAIN NO RELEASE;
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (311, 'V0311__enqueue_batch_v1.sql');
