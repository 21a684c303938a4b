SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

-- Who did what to the outbox by hand, and when. Every operator's routine that changes something records itself here, in
-- the transaction that makes the change.
CREATE TABLE outbox_audit (
  id      BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  at      DATETIME(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
  account VARCHAR(288) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL DEFAULT (USER()),
  action  VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL COMMENT 'the routine without outbox_ and _v<n>',
  details JSON NOT NULL COMMENT 'the arguments that were given, and what changed; never a payload',
  PRIMARY KEY (id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC COMMENT = 'outboxd: what operators did';

INSERT INTO outbox_migrations (version, file) VALUES (108, 'V0108__audit.sql');
