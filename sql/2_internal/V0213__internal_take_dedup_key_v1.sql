SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_take_dedup_key_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_take_dedup_key_v1 (
  IN p_dedup_key VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  OUT p_id BIGINT UNSIGNED
)
COMMENT '
Takes a dedup key for a message that is about to be stored, unless an earlier message has it.
Internal: outbox_internal_enqueue_v1 calls it.

Another session that has taken the same key and has not ended its transaction is waited for: after its commit its message
counts, after its rollback this one takes the key.

Parameters
  p_dedup_key VARCHAR(255): the key
  OUT p_id BIGINT UNSIGNED: the message that has it already; NULL: it is taken now, with message_id 0, and the caller
    writes the id there in the same transaction

Errors
  1205 another session''s transaction has held the key for longer than innodb_lock_wait_timeout; 1213 several waited, and
  the first rolled back

Transaction: joins the caller''s, who must have one. Locks: the key''s row.

Example
  mysql> CALL outbox_internal_take_dedup_key_v1(''order-1'', @id);
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  -- Sets what it is: another session's row, too, is locked and read as it was committed last.
  INSERT INTO outbox_dedup_keys (dedup_key, message_id, created_at)
  VALUES (p_dedup_key, 0, UTC_TIMESTAMP(6))
  ON DUPLICATE KEY UPDATE dedup_key = p_dedup_key;
  SELECT NULLIF(message_id, 0) INTO p_id FROM outbox_dedup_keys WHERE dedup_key = p_dedup_key FOR UPDATE;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (213, 'V0213__internal_take_dedup_key_v1.sql');
