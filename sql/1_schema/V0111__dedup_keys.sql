SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

-- The dedup keys that applications have given (outbox_enqueue_with_options_v1). A key stays longer than its message: until
-- outbox_purge_dedup_keys_v1 deletes it, the same key stores nothing and gives back message_id.
-- message_id is 0 only while the transaction that has taken the key is about to store its message. A row that was
-- committed so belongs to no message, and the next one takes it over.
CREATE TABLE outbox_dedup_keys (
  dedup_key  VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
  message_id BIGINT UNSIGNED NOT NULL,
  created_at DATETIME(6) NOT NULL,
  PRIMARY KEY (dedup_key),
  KEY outbox_dedup_keys_created (created_at)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC COMMENT = 'outboxd: which dedup key has stored which message';

INSERT INTO outbox_migrations (version, file) VALUES (111, 'V0111__dedup_keys.sql');
