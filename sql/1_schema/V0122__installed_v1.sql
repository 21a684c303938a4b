SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_installed_v1;

DELIMITER $$

CREATE PROCEDURE outbox_installed_v1 ()
COMMENT '
Lists the migrations that are installed. outbox_version_v1 returns the newest only, which does not say
whether one before it is missing. This procedure is never dropped, so that an outboxd of any release can ask.

Result set, by version: version; file; dropped_by, the file that has dropped what this one made, or NULL.

Called by: anybody; the daemon asks before it starts. Reads only; transaction: the caller''s.

Example
  mysql> CALL outbox_installed_v1();
  +---------+--------------------------+------------+
  | version | file                     | dropped_by |
  +---------+--------------------------+------------+
  |     101 | V0101__migrations.sql    | NULL       |
  |     102 | V0102__legacy_tables.sql | NULL       |
  |     ... | ...                      | ...        |
  +---------+--------------------------+------------+
'
SQL SECURITY DEFINER
READS SQL DATA
BEGIN
  SELECT version, file, dropped_by
    FROM outbox_migrations
   ORDER BY version;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (122, 'V0122__installed_v1.sql');
