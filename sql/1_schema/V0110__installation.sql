SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

-- Who this outbox is: one row, made once and kept through upgrades, backups and failovers. The defaults of the CloudEvents
-- source and of the consumer group follow from it (outbox_identity_v1), so that two outboxes share topics without
-- taking each other's records. A copy of the database is another outbox: outbox_new_identity_v1 gives it an identity.
CREATE TABLE outbox_installation (
  only_row        TINYINT UNSIGNED NOT NULL DEFAULT 1,
  installation_id CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'a UUID',
  made_at         DATETIME(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
  transaction_bytes BIGINT UNSIGNED NOT NULL DEFAULT 33554432 COMMENT 'what one transaction of outboxd changes at most, see outbox_set_transaction_bytes_v1',
  max_payload_bytes BIGINT UNSIGNED NOT NULL DEFAULT 1000000 COMMENT 'what enqueue accepts at most, see outbox_set_max_payload_bytes_v1',
  PRIMARY KEY (only_row),
  CONSTRAINT outbox_installation_is_one CHECK (only_row = 1)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC COMMENT = 'outboxd: the identity of this outbox, and what holds for all of it';

INSERT INTO outbox_installation (installation_id) VALUES (UUID());

INSERT INTO outbox_migrations (version, file) VALUES (110, 'V0110__installation.sql');
