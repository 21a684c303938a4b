SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_enqueue_set_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_enqueue_set_v1 (
  IN p_messages JSON,
  OUT p_enqueued INT,
  OUT p_is_plain BOOLEAN
)
COMMENT '
Stores many messages by few statements, if they are right and none has an option that needs more than that.
Internal: outbox_enqueue_batch_v1 calls it, in a transaction and behind a savepoint.

Parameters
  p_messages JSON: array as of outbox_enqueue_batch_v1
  OUT p_enqueued INT: how many messages were stored
  OUT p_is_plain BOOLEAN: FALSE: nothing else is known, and the caller rolls back to its savepoint and stores them one by
    one, which says what is wrong with which

MySQL gives ids out to a statement that stores an unknown number of rows in blocks of 1, 2, 4, 8 and so on, so that a number
that is not one less than a power of two leaves ids unused. Claims wait up to 100 ms for an unused id, in case a transaction is
about to use it. So a small array is divided; in a large one that would cost more than it saves.

Transaction: joins the caller''s, who must have one. All dedup keys are locked before the first message is stored, in
the order of the keys: two calls with the same keys in another order wait for each other, and meet in no deadlock.

Example
  mysql> CALL outbox_internal_enqueue_set_v1(''[{"biz_type": "b", "topic": "t", "key": "k", "payload": {}}]'', @enqueued, @is_plain);
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_has_keys BOOLEAN DEFAULT JSON_CONTAINS_PATH(p_messages, 'one', '$[*].dedup_key');
  DECLARE v_given INT DEFAULT JSON_LENGTH(p_messages);
  DECLARE v_at, v_size, v_enqueued INT DEFAULT 0;
  DECLARE v_most_divided INT DEFAULT 127;
  DECLARE v_last_insert_id BIGINT UNSIGNED DEFAULT LAST_INSERT_ID();
  DECLARE v_part JSON;
  DECLARE EXIT HANDLER FOR 1048, 3157
  BEGIN
    DO LAST_INSERT_ID(v_last_insert_id);
    SET p_is_plain = FALSE;
  END;

  SET p_enqueued = 0;
  SET p_is_plain = JSON_SCHEMA_VALID('{"items": {
      "type": "object",
      "required": ["biz_type", "topic", "key", "payload"],
      "additionalProperties": false,
      "properties": {
        "biz_type": {"type": "string", "minLength": 1, "maxLength": 64},
        "topic": {"type": "string", "minLength": 1, "maxLength": 249, "not": {"anyOf": [{"pattern": "[^a-zA-Z0-9._-]"}, {"enum": [".", ".."]}]}},
        "key": {"type": "string", "minLength": 1, "maxLength": 255},
        "payload": {},
        "max_retry": {"type": "integer", "minimum": -2147483647, "maximum": 2147483647},
        "headers": {"type": "object", "additionalProperties": {"type": "string"}},
        "delay_seconds": {"type": "integer", "minimum": 0, "maximum": 2147483647},
        "dedup_key": {"type": "string", "minLength": 1, "maxLength": 255}}}}', p_messages);
  IF p_is_plain AND v_has_keys THEN
    CALL outbox_internal_take_dedup_keys_v1(p_messages, p_is_plain);
  END IF;
  WHILE p_is_plain AND v_at < v_given DO
    SET v_size = IF(v_given > v_most_divided, v_given, (1 << FLOOR(LOG2(v_given - v_at + 1))) - 1);
    SET v_part = IF(v_size = v_given, p_messages, JSON_EXTRACT(p_messages, CONCAT('$[', v_at, ' to ', v_at + v_size - 1, ']')));
    CALL outbox_internal_enqueue_part_v1(v_part, v_has_keys, v_enqueued);
    SET p_enqueued = p_enqueued + v_enqueued, v_at = v_at + v_size;
  END WHILE;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (309, 'V0309__internal_enqueue_set_v1.sql');
