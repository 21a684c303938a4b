SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

-- What a message of a business type does when it is consumed, in which order, and how failures are retried.
-- All of it is read when a message is claimed, fails or is consumed, never when it is enqueued: a change holds for the
-- messages that wait already, and an application's transaction neither reads nor locks this table.
-- A type without a handler, in this table or not, is publish-only: Kafka's acknowledgement consumes its messages.
CREATE TABLE outbox_biz_types (
  biz_type             VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
  handler              VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NULL COMMENT 'procedure (p_id BIGINT UNSIGNED, p_payload LONGTEXT) in this database; must not commit; NULL: the type is publish-only',
  batch_handler        VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NULL COMMENT 'procedure (p_is_check BOOLEAN) that takes many messages at once, see outbox_register_batch_handler_v1; NULL: none',
  ordering             ENUM('key', 'none') CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL DEFAULT 'key',
  max_retry            INT UNSIGNED NULL COMMENT 'failures after which a message is dead, whatever its own max_retry; NULL: its own',
  backoff_base_seconds INT UNSIGNED NOT NULL DEFAULT 1,
  backoff_cap_seconds  INT UNSIGNED NOT NULL DEFAULT 32,
  takes_bytes          BOOLEAN NOT NULL DEFAULT FALSE COMMENT 'whether received values need be no JSON, see outbox_register_bytes_v1',
  PRIMARY KEY (biz_type)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC COMMENT = 'outboxd: business types, their handlers and policies';

INSERT INTO outbox_migrations (version, file) VALUES (106, 'V0106__biz_types.sql');
