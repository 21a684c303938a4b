SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_enqueue_part_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_enqueue_part_v1 (
  IN p_messages JSON,
  IN p_has_keys BOOLEAN,
  OUT p_enqueued INT
)
COMMENT '
Stores messages by one statement.
Internal: outbox_internal_enqueue_set_v1 calls it.

Parameters
  p_messages JSON: array as of outbox_enqueue_batch_v1, in which all is right but maybe the payloads
  p_has_keys BOOLEAN: whether some have dedup keys, which outbox_internal_take_dedup_keys_v1 has taken
  OUT p_enqueued INT: how many messages were stored: all but those whose dedup key another message has

Errors
  1048, 3157 a payload is too large, or is no JSON, or is nested too deep

Transaction: joins the caller''s, who must have one.

Example
  mysql> CALL outbox_internal_enqueue_part_v1(''[{"biz_type": "b", "topic": "t", "key": "k", "payload": {}}]'', FALSE, @enqueued);
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_now DATETIME(6) DEFAULT UTC_TIMESTAMP(6);
  DECLARE v_last_insert_id BIGINT UNSIGNED DEFAULT LAST_INSERT_ID();
  DECLARE v_first_id BIGINT UNSIGNED;
  -- Of an outbox that has lost its row of outbox_installation.
  DECLARE v_most_bytes BIGINT UNSIGNED DEFAULT 1000000;

  SELECT COALESCE(MAX(max_payload_bytes), v_most_bytes) INTO v_most_bytes FROM outbox_installation;
  -- A payload that is NULL is refused by its column, whatever it is NULL for.
  INSERT INTO agent_outbox_messages
    (biz_type, topic, message_key, payload, headers, dedup_key, status, retry_count, max_retry, next_retry_at, created_at, updated_at)
  SELECT given.biz_type, given.topic, given.message_key,
         IF(LENGTH(JSON_UNQUOTE(given.payload)) <= v_most_bytes AND JSON_VALID(JSON_UNQUOTE(given.payload)), JSON_UNQUOTE(given.payload), NULL),
         given.headers, given.dedup_key, 'pending', 0, IF(given.max_retry > 0, given.max_retry, 20),
         v_now + INTERVAL COALESCE(given.delay_seconds, 0) SECOND, v_now, v_now
    FROM JSON_TABLE(p_messages, '$[*]' COLUMNS (
           biz_type VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin PATH '$.biz_type',
           topic VARCHAR(249) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin PATH '$.topic',
           message_key VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin PATH '$.key',
           payload JSON PATH '$.payload',
           headers JSON PATH '$.headers',
           dedup_key VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin PATH '$.dedup_key',
           max_retry INT PATH '$.max_retry',
           delay_seconds INT PATH '$.delay_seconds')) AS given
   WHERE NOT p_has_keys
      OR given.dedup_key IS NULL
      OR EXISTS (SELECT 1 FROM outbox_dedup_keys AS k WHERE k.dedup_key = given.dedup_key AND k.message_id = 0);
  SET p_enqueued = ROW_COUNT(), v_first_id = LAST_INSERT_ID();
  DO LAST_INSERT_ID(v_last_insert_id);
  IF p_enqueued > 0 AND v_first_id = 0 THEN
    DELETE FROM agent_outbox_messages WHERE id = 0;
    CALL outbox_internal_raise_v1(30011, 'insert_id is set in this session, to 0: ids are given out by the outbox');
  END IF;
  IF p_has_keys AND p_enqueued > 0 THEN
    CALL outbox_internal_note_dedup_keys_v1(v_first_id);
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (308, 'V0308__internal_enqueue_part_v1.sql');
