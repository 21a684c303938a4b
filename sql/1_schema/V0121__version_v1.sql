SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_version_v1;

DELIMITER $$

CREATE PROCEDURE outbox_version_v1 (
  OUT p_version INT UNSIGNED
)
COMMENT '
Tells which schema is installed: the number of the newest migration.

Parameters
  OUT p_version INT UNSIGNED: the number, as in the file names (V0516 is 516)

Called by: anybody; the daemon asks before it starts. Reads only; transaction: the caller''s.

Example
  mysql> CALL outbox_version_v1(@version);
  mysql> SELECT @version;
  +----------+
  | @version |
  +----------+
  |      916 |
  +----------+
'
SQL SECURITY DEFINER
READS SQL DATA
BEGIN
  SELECT MAX(version) INTO p_version FROM outbox_migrations;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (121, 'V0121__version_v1.sql');
