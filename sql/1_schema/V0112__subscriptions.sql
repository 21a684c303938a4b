SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

-- The inbox: which records of others take effect here (outbox_subscribe_v1), and where those that failed are sent again.
CREATE TABLE outbox_subscriptions (
  source        VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL COMMENT 'ce_source, or kafka:TOPIC for records without one; % stands for any text',
  event_type    VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL COMMENT 'ce_type; % stands for any text',
  biz_type      VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL COMMENT 'whose handler such a record takes effect through',
  subscribed_at DATETIME(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
  received_at   DATETIME(6) NULL COMMENT 'when a record of it has come last, to the minute; NULL: none has',
  PRIMARY KEY (source, event_type)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC COMMENT = 'outboxd: which records of others take effect here';

-- A topic stays here when a subscription ends: messages that were received before may still have to be sent again.
CREATE TABLE outbox_retry_topics (
  topic        VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL COMMENT 'of this outbox alone: ORIGIN.outboxd.DATABASE',
  origin_topic VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL COMMENT 'in which they were received',
  received_at  DATETIME(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)) COMMENT 'when the first message of it was received',
  PRIMARY KEY (topic)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC COMMENT = 'outboxd: the topics in which received messages are sent again';

INSERT INTO outbox_migrations (version, file) VALUES (112, 'V0112__subscriptions.sql');
