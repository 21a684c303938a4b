SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

-- What is not relayed at the moment: topics and business types that an operator has paused, and topics that Kafka does not
-- take records for (trouble). Each claim reads this table; it is usually empty. The messages that wait for a pause stand
-- outside of the queue with its id (waits_for), and come back in batches once it is over; only then is the row deleted.
CREATE TABLE outbox_pauses (
  id         BIGINT UNSIGNED NOT NULL DEFAULT (UUID_SHORT()) COMMENT 'what waits_for of its messages is',
  kind       ENUM('topic', 'biz_type', 'trouble') CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL COMMENT 'trouble: of a topic',
  name       VARCHAR(249) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL COMMENT 'the topic or business type',
  paused_at  DATETIME(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
  paused_by  VARCHAR(288) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL DEFAULT (USER()),
  resumed_at DATETIME(6) NULL COMMENT 'NULL: it is on; otherwise it is over, and its messages are on their way back to the queue',
  failures   INT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'trouble: how often in a row',
  reason     VARCHAR(2000) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NULL COMMENT 'trouble: the last error',
  retry_at   DATETIME(6) NULL COMMENT 'trouble: when a relay tries the topic again, with one message',
  probe_id   BIGINT UNSIGNED NULL COMMENT 'trouble: that message',
  PRIMARY KEY (kind, name),
  UNIQUE KEY outbox_pauses_id (id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC COMMENT = 'outboxd: paused topics and business types, and topics in trouble';

INSERT INTO outbox_migrations (version, file) VALUES (109, 'V0109__pauses.sql');
