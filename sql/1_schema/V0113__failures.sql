SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

-- Every failure of a message, not only the last one: written when a message fails or dies, and deleted with the message. A
-- message that does not fail has no row here and costs nothing. Of one that fails more often than its max_retry, because an
-- operator has requeued it, the latest stay, as many as max_retry.
CREATE TABLE outbox_failures (
  message_id BIGINT UNSIGNED NOT NULL,
  failure    INT UNSIGNED NOT NULL COMMENT 'the n-th of this message, from 1, counted on through requeues',
  at         DATETIME(6) NOT NULL,
  stage      ENUM('relay', 'consumer', 'operator') CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL COMMENT 'where: Kafka refused the record, the handler failed, or an operator gave it up',
  errno      INT NULL COMMENT 'the number of MySQL''s error, NULL: there is none',
  error      VARCHAR(2000) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NULL COMMENT 'the text, cut as last_error is',
  PRIMARY KEY (message_id, failure)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC COMMENT = 'outboxd: the failures of messages';

INSERT INTO outbox_migrations (version, file) VALUES (113, 'V0113__failures.sql');
