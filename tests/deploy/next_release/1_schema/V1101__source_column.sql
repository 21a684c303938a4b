SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;
-- While this waits for a transaction that is open, every other call waits behind it: it gives up soon, and is run again.

ALTER TABLE agent_outbox_messages
  ADD COLUMN source VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL DEFAULT '' COMMENT 'which application enqueued it',
  ALGORITHM = INSTANT;

INSERT INTO outbox_migrations (version, file) VALUES (1101, 'V1101__source_column.sql');
