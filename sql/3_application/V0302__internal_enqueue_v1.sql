SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_enqueue_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_enqueue_v1 (
  IN p_prefix VARCHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_biz_type TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_topic TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_message_key TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_payload LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_body LONGBLOB,
  IN p_content_type TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_max_retry INT,
  IN p_options LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  OUT p_id BIGINT UNSIGNED,
  OUT p_is_new BOOLEAN
)
COMMENT '
Checks a message and stores it, unless another message has its dedup key.
Internal: whatever enqueues calls it, but for outbox_internal_enqueue_part_v1.

Parameters
  p_prefix VARCHAR(32): what stands before the names in an error: p_, or such as p_messages[3].
  p_biz_type TEXT, 1 to 64 characters: decides what consuming the message does
  p_topic TEXT, 1 to 249 characters: the Kafka topic
  p_message_key TEXT, 1 to 255 characters: the record''s key
  p_payload LONGTEXT: any valid JSON, kept byte for byte; null where the value is p_body
  p_body LONGBLOB: the bytes that are sent instead of p_payload, where p_content_type is not NULL
  p_content_type TEXT: NULL: p_payload is sent
  p_max_retry INT: failures after which the message is dead, unless its business type says otherwise; NULL or 0 or
    less: 20
  p_options LONGTEXT: as in outbox_enqueue_with_options_v1; its max_retry comes before p_max_retry; NULL: none
  OUT p_id BIGINT UNSIGNED: the message''s id, or that of the message which has the dedup key
  OUT p_is_new BOOLEAN: whether it was stored

Errors (nothing is stored)
  those of outbox_enqueue_with_options_v1

Transaction: the caller''s. With a dedup key it has one of its own under autocommit, because key and message must be
stored together.

Example
  mysql> CALL outbox_internal_enqueue_v1(''p_'', ''order_placed'', ''orders'', ''Ada'', ''{"order":1}'', NULL, NULL, NULL, NULL, @id, @is_new);
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_now DATETIME(6) DEFAULT UTC_TIMESTAMP(6);
  DECLARE v_last_insert_id BIGINT UNSIGNED DEFAULT LAST_INSERT_ID();
  -- The least that max_payload_bytes can be: below it nobody has to look.
  DECLARE v_small_bytes INT DEFAULT 65536;
  DECLARE v_bytes BIGINT UNSIGNED DEFAULT IF(p_content_type IS NULL, LENGTH(p_payload), COALESCE(LENGTH(p_body), 0));
  DECLARE v_max_retry, v_delay_seconds INT;
  DECLARE v_headers JSON;
  DECLARE v_deliver_at DATETIME(6);
  DECLARE v_dedup_key VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;
  DECLARE v_is_own_transaction BOOLEAN DEFAULT FALSE;
  DECLARE EXIT HANDLER FOR SQLEXCEPTION
  BEGIN
    IF v_is_own_transaction THEN
      ROLLBACK AND NO CHAIN NO RELEASE;
    END IF;
    RESIGNAL;
  END;
  -- For JSON that is nested too deep, JSON_VALID raises 3157 instead of returning 0.
  DECLARE EXIT HANDLER FOR 3157
    CALL outbox_internal_raise_v1(30003, CONCAT(p_prefix, 'payload is nested deeper than 100 levels: ', LEFT(p_payload, 60)));

  IF p_options IS NOT NULL THEN
    CALL outbox_internal_read_options_v1(p_prefix, p_options, v_max_retry, v_headers, v_delay_seconds, v_deliver_at, v_dedup_key);
  END IF;
  IF NOT COALESCE(CHAR_LENGTH(p_biz_type) BETWEEN 1 AND 64
              AND CHAR_LENGTH(p_topic) BETWEEN 1 AND 249
              AND NOT REGEXP_LIKE(p_topic, '[^a-zA-Z0-9._-]', 'c')
              AND p_topic NOT IN ('.', '..')
              AND CHAR_LENGTH(p_message_key) BETWEEN 1 AND 255
              AND JSON_VALID(p_payload)
              AND v_bytes <= v_small_bytes, FALSE) THEN
    CALL outbox_internal_reject_message_v1(p_prefix, p_biz_type, p_topic, p_message_key, p_payload, v_bytes);
  END IF;
  -- An id of the session's own would be given out twice, or be the last that there is.
  IF @@SESSION.insert_id <> 0 THEN
    CALL outbox_internal_raise_v1(30011, CONCAT('insert_id is set in this session, to ', @@SESSION.insert_id, ': ids are given out by the outbox'));
  END IF;

  IF v_dedup_key IS NOT NULL THEN
    CALL outbox_internal_begin_v1(v_is_own_transaction);
    CALL outbox_internal_take_dedup_key_v1(v_dedup_key, p_id);
  END IF;
  SET p_is_new = p_id IS NULL;
  IF p_is_new THEN
    -- One reading of the clock for both times: they are equal in a new message, and differ in a delayed one (waits_for).
    INSERT INTO agent_outbox_messages
      (biz_type, topic, message_key, payload, body, content_type, headers, dedup_key, status, retry_count, max_retry, next_retry_at, created_at, updated_at)
    VALUES
      (p_biz_type, p_topic, p_message_key, p_payload, p_body, p_content_type, v_headers, v_dedup_key, 'pending', 0,
       IF(COALESCE(v_max_retry, p_max_retry) > 0, COALESCE(v_max_retry, p_max_retry), 20),
       GREATEST(COALESCE(v_deliver_at, v_now + INTERVAL COALESCE(v_delay_seconds, 0) SECOND), v_now), v_now, v_now);
    SET p_id = LAST_INSERT_ID();
    DO LAST_INSERT_ID(v_last_insert_id);
    -- Set to 0 it looks as if it were not set, and the message has the id 0.
    IF p_id = 0 THEN
      DELETE FROM agent_outbox_messages WHERE id = 0;
      CALL outbox_internal_raise_v1(30011, 'insert_id is set in this session, to 0: ids are given out by the outbox');
    END IF;
    IF v_dedup_key IS NOT NULL THEN
      UPDATE outbox_dedup_keys SET message_id = p_id WHERE dedup_key = v_dedup_key;
    END IF;
  END IF;
  IF v_is_own_transaction THEN
    COMMIT AND NO CHAIN NO RELEASE;
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (302, 'V0302__internal_enqueue_v1.sql');
