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
  DECLARE v_messages, v_part, v_element JSON;
  DECLARE v_given, v_at, v_size, v_enqueued INT DEFAULT 0;
  -- An array of a part costs more than a few unused ids where it is long.
  DECLARE v_most_divided INT DEFAULT 127;
  DECLARE v_type VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;
  DECLARE v_wrong VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;
  DECLARE v_prefix VARCHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;
  DECLARE v_id BIGINT UNSIGNED;
  DECLARE v_is_plain BOOLEAN DEFAULT TRUE;
  DECLARE v_is_new, v_is_done, v_is_own_transaction BOOLEAN DEFAULT FALSE;
  DECLARE elements CURSOR FOR
    SELECT given.place - 1, given.element FROM JSON_TABLE(v_messages, '$[*]' COLUMNS (place FOR ORDINALITY, element JSON PATH '$')) AS given;
  DECLARE CONTINUE HANDLER FOR NOT FOUND SET v_is_done = TRUE;
  DECLARE EXIT HANDLER FOR 3157
    CALL outbox_internal_raise_v1(30003, CONCAT('p_messages is nested deeper than 100 levels: ', LEFT(p_messages, 60)));

  IF p_messages IS NULL THEN
    CALL outbox_internal_raise_v1(30001, 'p_messages must not be NULL');
  END IF;
  SET v_messages = IF(JSON_VALID(p_messages), p_messages, NULL);
  IF NOT COALESCE(JSON_TYPE(v_messages) COLLATE utf8mb4_0900_bin = 'ARRAY', FALSE) THEN
    CALL outbox_internal_raise_v1(30003, CONCAT('p_messages is not a JSON array: ', LEFT(p_messages, 80)));
  END IF;
  IF @@SESSION.insert_id <> 0 THEN
    CALL outbox_internal_raise_v1(30011, CONCAT('insert_id is set in this session, to ', @@SESSION.insert_id, ': ids are given out by the outbox'));
  END IF;
  SET p_enqueued = 0, v_given = JSON_LENGTH(v_messages);
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
    WHILE v_at < v_given AND v_is_plain DO
      SET v_size = v_given - v_at;
      IF v_given <= v_most_divided THEN
        SET v_size = (1 << FLOOR(LOG2(v_size + 1))) - 1;
      END IF;
      SET v_part = IF(v_size = v_given, v_messages, JSON_EXTRACT(v_messages, CONCAT('$[', v_at, ' to ', v_at + v_size - 1, ']')));
      CALL outbox_internal_enqueue_set_v1(v_part, v_enqueued, v_is_plain);
      SET p_enqueued = p_enqueued + v_enqueued, v_at = v_at + v_size;
    END WHILE;
    IF NOT v_is_plain THEN
      ROLLBACK TO SAVEPOINT outbox_enqueue_batch;
      SET p_enqueued = 0;
      OPEN elements;
      one_by_one: LOOP
        FETCH elements INTO v_at, v_element;
        IF v_is_done THEN
          LEAVE one_by_one;
        END IF;
        SET v_prefix = CONCAT('p_messages[', v_at, '].');
        IF JSON_TYPE(v_element) COLLATE utf8mb4_0900_bin <> 'OBJECT' THEN
          CALL outbox_internal_raise_v1(30012, CONCAT('p_messages[', v_at, '] must be an object, it is ', LEFT(CAST(v_element AS CHAR) COLLATE utf8mb4_0900_bin, 60)));
        END IF;
        SELECT MIN(given.name)
          INTO v_wrong
          FROM JSON_TABLE('["biz_type", "topic", "key"]', '$[*]' COLUMNS (name VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin PATH '$')) AS given
         WHERE JSON_TYPE(JSON_EXTRACT(v_element, CONCAT('$.', given.name))) COLLATE utf8mb4_0900_bin NOT IN ('STRING', 'NULL');
        IF v_wrong IS NOT NULL THEN
          CALL outbox_internal_raise_v1(30012, CONCAT(v_prefix, v_wrong, ' must be a string, it is ',
            LEFT(CAST(JSON_EXTRACT(v_element, CONCAT('$.', v_wrong)) AS CHAR) COLLATE utf8mb4_0900_bin, 60)));
        END IF;
        CALL outbox_internal_enqueue_v1(v_prefix,
          JSON_VALUE(v_element, '$.biz_type' RETURNING CHAR(65535) CHARACTER SET utf8mb4),
          JSON_VALUE(v_element, '$.topic' RETURNING CHAR(65535) CHARACTER SET utf8mb4),
          JSON_VALUE(v_element, '$.key' RETURNING CHAR(65535) CHARACTER SET utf8mb4),
          JSON_UNQUOTE(JSON_EXTRACT(v_element, '$.payload')), NULL, NULL, NULL,
          JSON_REMOVE(v_element, '$.biz_type', '$.topic', '$.key', '$.payload'), v_id, v_is_new);
        SET p_enqueued = p_enqueued + v_is_new;
      END LOOP;
      CLOSE elements;
    END IF;
  END;
  RELEASE SAVEPOINT outbox_enqueue_batch;
  IF v_is_own_transaction THEN
    COMMIT AND NO CHAIN NO RELEASE;
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (309, 'V0309__enqueue_batch_v1.sql');
