SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_lock_waits_v1;

DELIMITER $$

CREATE PROCEDURE outbox_lock_waits_v1 ()
COMMENT '
What calls of the procedures wait for at this moment, other than rows: that somebody has locked a table (LOCK TABLES, a
backup, an ALTER behind a long transaction) or the whole server (FLUSH TABLES WITH READ LOCK).

Result set, one row, or none: state, the server''s own words for the longest wait, and seconds, how long it has lasted.

Called by: relays, consumers, operators, monitoring. Reads only; transaction: the caller''s. While a procedure runs, its session is
the definer''s: so the definer sees them all, and needs no privilege (PROCESS) for it.

Example
  mysql> CALL outbox_lock_waits_v1();
  +---------------------------------+---------+
  | state                           | seconds |
  +---------------------------------+---------+
  | Waiting for table metadata lock |      12 |
  +---------------------------------+---------+
'
SQL SECURITY DEFINER
READS SQL DATA
BEGIN
  SELECT state, time AS seconds
    FROM information_schema.processlist
   WHERE db = DATABASE()
     AND state LIKE 'Waiting for % lock'
   ORDER BY time DESC
   LIMIT 1;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (904, 'V0904__lock_waits_v1.sql');
