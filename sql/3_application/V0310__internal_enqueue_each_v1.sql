SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_enqueue_each_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_enqueue_each_v1 (
  IN p_messages JSON,
  OUT p_enqueued INT
)
COMMENT '
Stores many messages one by one, and names the first that is wrong by its position.
Internal: outbox_enqueue_batch_v1 calls it where outbox_internal_enqueue_set_v1 could not store them together.

Parameters
  p_messages JSON: array as of outbox_enqueue_batch_v1
  OUT p_enqueued INT: how many messages were stored

Errors
  those of outbox_enqueue_batch_v1

Transaction: joins the caller''s, who must have one.

Example
  mysql> CALL outbox_internal_enqueue_each_v1(''[{"biz_type": "b", "topic": "t", "key": "k", "payload": {}}]'', @enqueued);
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_at INT;
  DECLARE v_element JSON;
  DECLARE v_wrong VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;
  DECLARE v_prefix VARCHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;
  DECLARE v_id BIGINT UNSIGNED;
  DECLARE v_is_new BOOLEAN;
  DECLARE v_is_done BOOLEAN DEFAULT FALSE;
  DECLARE elements CURSOR FOR
    SELECT given.place - 1, given.element FROM JSON_TABLE(p_messages, '$[*]' COLUMNS (place FOR ORDINALITY, element JSON PATH '$')) AS given;
  DECLARE CONTINUE HANDLER FOR NOT FOUND SET v_is_done = TRUE;

  SET p_enqueued = 0;
  OPEN elements;
  one_by_one: LOOP
    FETCH elements INTO v_at, v_element;
    IF v_is_done THEN
      LEAVE one_by_one;
    END IF;
    SET v_prefix = CONCAT('p_messages[', v_at, '].');
    IF NOT COALESCE(JSON_TYPE(v_element) COLLATE utf8mb4_0900_bin = 'OBJECT', FALSE) THEN
      CALL outbox_internal_raise_v1(30012, CONCAT('p_messages[', v_at, '] must be an object, it is ',
        COALESCE(LEFT(CAST(v_element AS CHAR) COLLATE utf8mb4_0900_bin, 60), 'null')));
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
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (310, 'V0310__internal_enqueue_each_v1.sql');
