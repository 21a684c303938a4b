SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_examine_server_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_examine_server_v1 (
  INOUT p_findings JSON
)
COMMENT '
Examines whether the server takes changes: read_only, super_read_only and offline_mode.
Internal: outbox_doctor_v1 calls it.

Parameters
  INOUT p_findings JSON: what was found so far, see outbox_internal_tell_v1; comes back with more

Reads only; transaction: the caller''s.

Example
  mysql> SET @findings = JSON_ARRAY();
  mysql> CALL outbox_internal_examine_server_v1(@findings);
'
SQL SECURITY DEFINER
NO SQL
BEGIN
  DECLARE v_on TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin DEFAULT CONCAT_WS(', ',
    IF(@@GLOBAL.super_read_only, 'super_read_only', NULL), IF(@@GLOBAL.read_only, 'read_only', NULL),
    IF(@@GLOBAL.offline_mode, 'offline_mode', NULL), IF(@@GLOBAL.innodb_read_only, 'innodb_read_only', NULL));
  IF v_on = '' THEN
    CALL outbox_internal_tell_v1(p_findings, 'ok', 'read only', 'the server takes changes', NULL);
  ELSE
    CALL outbox_internal_tell_v1(p_findings, 'error', 'read only', CONCAT(v_on, ' is ON: nothing is enqueued, relayed or consumed here'),
      'connect to the primary; if this is the primary: SET GLOBAL super_read_only = OFF, read_only = OFF, offline_mode = OFF');
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (933, 'V0933__internal_examine_server_v1.sql');
