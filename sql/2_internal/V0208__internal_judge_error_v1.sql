SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_judge_error_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_judge_error_v1 (
  IN p_errno INT,
  OUT p_is_servers BOOLEAN,
  OUT p_is_too_large BOOLEAN
)
COMMENT '
Tells what an error of MySQL means, by its number: this is the one list of the errors that the server raises for reasons
of its own. They count no retry and kill no message, whatever was being done when they came; the daemon waits and calls
again. A lock that cannot be had (1205, 1213) is not one of them: it depends on who holds it.
Internal: outbox_internal_call_handler_v1 and outbox_internal_shrink_v1 call it.

Parameters
  p_errno INT: the error''s number
  OUT p_is_servers BOOLEAN: whether the server, and no message, is the reason
  OUT p_is_too_large BOOLEAN: whether the transaction may only have been too large, so that a smaller one may pass

Reads no data; transaction: the caller''s.

Example
  mysql> CALL outbox_internal_judge_error_v1(3100, @is_servers, @is_too_large);
  mysql> SELECT @is_servers, @is_too_large;
  +-------------+---------------+
  | @is_servers | @is_too_large |
  +-------------+---------------+
  |           1 |             1 |
  +-------------+---------------+
'
SQL SECURITY DEFINER
NO SQL
BEGIN
  -- 1180 a commit failed, with Galera because of its size; 1197 max_binlog_cache_size; 1206 more locks than the buffer
  -- pool has room for; 1705 max_binlog_stmt_cache_size; 3100 group replication refuses the commit, most often because of
  -- group_replication_transaction_size_limit; 3231 the same because of the number of rows.
  SET p_is_too_large = p_errno IN (1180, 1197, 1206, 1705, 3100, 3231);
  -- In turn: no file handles; no room on a disk, in a tablespace, or a write fails; read only, be it a table, every
  -- transaction, the server, InnoDB, after a recovery by force, or the database; no memory, threads or stack; no
  -- connection or prepared statement; shutting down, killed, max_execution_time, or offline; no room for undo, temporary
  -- files or one more transaction; rolled back by group replication.
  SET p_is_servers = p_is_too_large OR p_errno IN (
    1015, 1016,
    1021, 1026, 1030, 1114,
    1036, 1792, 1836, 1874, 1881, 3989,
    1037, 1038, 1041, 1135, 1436, 3015, 3985, 4081, 4082,
    1040, 1203, 1226, 1461, 6411,
    1053, 1317, 1927, 3024, 3032, 3168, 3169, 4031,
    1181, 1637, 1878, 3019,
    3101);
  -- 1290 is also what a handler is told that writes a file where it must not: that is its own failure.
  IF p_errno = 1290 THEN
    SET p_is_servers = @@GLOBAL.read_only OR @@GLOBAL.super_read_only OR @@GLOBAL.offline_mode;
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (208, 'V0208__internal_judge_error_v1.sql');
