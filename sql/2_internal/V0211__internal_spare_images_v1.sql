SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_spare_images_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_spare_images_v1 (
  INOUT p_row_image VARCHAR(8) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin
)
COMMENT '
Keeps payloads out of the binary log while messages change: a row that is changed or deleted is written there with all its
columns, the payload twice for each change. With binlog_row_image = NOBLOB it is written without the columns that stay
as they are and are large. Nothing else is lost: replicas find the row by its primary key.
Internal: called before messages are changed, and again behind that.

Parameters
  INOUT p_row_image VARCHAR(8): NULL sets NOBLOB for the session and returns what it had before; what it had before sets
    that again

Only where the account that applied the migrations has the privilege SESSION_VARIABLES_ADMIN (or SYSTEM_VARIABLES_ADMIN
or SUPER), and only where the session has FULL; otherwise does nothing. Transaction: the caller''s.

Example
  mysql> SET @row_image = NULL;
  mysql> CALL outbox_internal_spare_images_v1(@row_image);
  mysql> CALL outbox_internal_spare_images_v1(@row_image);
'
SQL SECURITY DEFINER
NO SQL
BEGIN
  -- 1227: the privilege is missing.
  DECLARE EXIT HANDLER FOR 1227
    DO 0;
  IF p_row_image IS NULL THEN
    SET p_row_image = @@SESSION.binlog_row_image;
    IF p_row_image = 'FULL' THEN
      SET SESSION binlog_row_image = 'NOBLOB';
    END IF;
  ELSEIF p_row_image = 'FULL' AND @@SESSION.binlog_row_image <> 'FULL' THEN
    SET SESSION binlog_row_image = 'FULL';
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (211, 'V0211__internal_spare_images_v1.sql');
