SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

-- What is installed here. Every migration file ends by entering itself, so that the mysql client,
-- Flyway and `outboxd migrate` all leave the same trace; `outboxd migrate` adds the checksum. A file that drops what
-- an earlier one made (V<nnnn>__post_<name>.sql) writes its name into that one's row, so that an outboxd which still
-- needs it does not start.
CREATE TABLE outbox_migrations (
  version        INT UNSIGNED NOT NULL,
  file           VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
  checksum       CHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL COMMENT 'SHA-256 of the file, hex; NULL until outboxd migrate has seen it',
  installed_at   DATETIME(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
  installed_by   VARCHAR(288) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL DEFAULT (USER()),
  dropped_by     VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NULL COMMENT 'the file that has dropped what this one made',
  PRIMARY KEY (version)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC COMMENT = 'outboxd: installed migrations';

INSERT INTO outbox_migrations (version, file) VALUES (101, 'V0101__migrations.sql');
