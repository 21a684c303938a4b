SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

-- The topics and business types that are not relayed at the moment. Each claim reads it; it is usually empty.
CREATE TABLE outbox_pauses (
  kind      ENUM('topic', 'biz_type') CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
  name      VARCHAR(249) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
  paused_at DATETIME(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
  paused_by VARCHAR(288) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL DEFAULT (USER()),
  PRIMARY KEY (kind, name)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC COMMENT = 'outboxd: paused topics and business types';

INSERT INTO outbox_migrations (version, file) VALUES (109, 'V0109__pauses.sql');
