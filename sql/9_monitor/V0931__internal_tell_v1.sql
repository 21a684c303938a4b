SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_tell_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_tell_v1 (
  INOUT p_findings JSON,
  IN p_level VARCHAR(8) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_kind VARCHAR(320) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_what TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_to_do TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin
)
COMMENT '
Adds one finding to those that outbox_doctor_v1 returns.
Internal: the routines that examine something call it; it touches no data.

Parameters
  INOUT p_findings JSON: an array of objects with level, kind, what and to_do
  p_level VARCHAR(8): ok, warning or error
  p_kind VARCHAR(320): what was examined, such as handlers
  p_what TEXT: its state; NULL: nothing is added
  p_to_do TEXT: what to do about it, one line; NULL where it is ok

Example
  mysql> SET @findings = JSON_ARRAY();
  mysql> CALL outbox_internal_tell_v1(@findings, ''ok'', ''relays'', ''2 alive'', NULL);
'
SQL SECURITY DEFINER
NO SQL
BEGIN
  IF p_what IS NOT NULL THEN
    SET p_findings = JSON_ARRAY_APPEND(p_findings, '$',
      JSON_OBJECT('level', p_level, 'kind', p_kind, 'what', p_what, 'to_do', p_to_do));
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (931, 'V0931__internal_tell_v1.sql');
