SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

-- The two tables of the legacy Go service. IF NOT EXISTS: where the service has made them already, they keep their rows,
-- and the next files add what outboxd needs.
-- Times default to UTC. The routines set updated_at, because ON UPDATE would follow the session's time zone.
CREATE TABLE IF NOT EXISTS agent_outbox_messages (
  id            BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  biz_type      VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
  topic         VARCHAR(249) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
  message_key   VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
  payload       LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
  status        VARCHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL DEFAULT 'pending',
  retry_count   INT NOT NULL DEFAULT 0,
  max_retry     INT NOT NULL DEFAULT 20,
  next_retry_at DATETIME(6) NULL DEFAULT (UTC_TIMESTAMP(6)),
  last_error    VARCHAR(2000) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NULL,
  published_at  DATETIME(6) NULL,
  consumed_at   DATETIME(6) NULL,
  created_at    DATETIME(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
  updated_at    DATETIME(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
  PRIMARY KEY (id),
  KEY idx_outbox_status_next (status, next_retry_at, biz_type),
  CONSTRAINT outbox_payload_is_json CHECK (JSON_VALID(payload))
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COMMENT = 'outboxd: the outbox';

CREATE TABLE IF NOT EXISTS chat_histories (
  id              BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  user_id         BIGINT NOT NULL,
  chat_id         VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
  message_content LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
  role            VARCHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
  created_at      DATETIME(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
  PRIMARY KEY (id),
  KEY idx_chat_histories_chat (chat_id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COMMENT = 'outboxd: the business table of the chat history';

INSERT INTO outbox_migrations (version, file) VALUES (102, 'V0102__legacy_tables.sql');
