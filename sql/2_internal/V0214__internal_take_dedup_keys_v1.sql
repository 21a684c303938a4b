SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_take_dedup_keys_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_take_dedup_keys_v1 (
  IN p_messages JSON,
  OUT p_is_plain BOOLEAN
)
COMMENT '
Takes the dedup keys of many messages that are about to be stored, in the order of the keys.
Internal: outbox_internal_enqueue_set_v1 calls it.

Parameters
  p_messages JSON: array of {"dedup_key", ...}; without one: the message is left alone
  OUT p_is_plain BOOLEAN: FALSE: two of the messages have the same key, so that they must be stored one by one

Each key''s row has message_id 0 afterwards if it was taken now, and the id of the earlier message otherwise.

Errors
  1205, 1213: as outbox_internal_take_dedup_key_v1

Transaction: joins the caller''s, who must have one. Locks: the keys'' rows.

Example
  mysql> CALL outbox_internal_take_dedup_keys_v1(''[{"dedup_key": "order-1"}]'', @is_plain);
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  SELECT COUNT(given.dedup_key) = COUNT(DISTINCT given.dedup_key)
    INTO p_is_plain
    FROM JSON_TABLE(p_messages, '$[*]' COLUMNS (dedup_key VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin PATH '$.dedup_key')) AS given;
  IF p_is_plain THEN
    INSERT INTO outbox_dedup_keys (dedup_key, message_id, created_at)
    SELECT given.dedup_key, 0, UTC_TIMESTAMP(6)
      FROM JSON_TABLE(p_messages, '$[*]' COLUMNS (dedup_key VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin PATH '$.dedup_key')) AS given
     WHERE given.dedup_key IS NOT NULL
     ORDER BY given.dedup_key
    ON DUPLICATE KEY UPDATE outbox_dedup_keys.dedup_key = given.dedup_key;
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (214, 'V0214__internal_take_dedup_keys_v1.sql');
