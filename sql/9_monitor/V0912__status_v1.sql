SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_status_v1;

DELIMITER $$

CREATE PROCEDURE outbox_status_v1 ()
COMMENT '
Counts the messages by status, with the age of the oldest of each.

Result set: status; messages, their number; received, how many of them are the inbox''s: received from others;
oldest_seconds, how long ago the oldest was enqueued; next_due_seconds, until the next pending one is due (negative: it is overdue; NULL: none is pending).
A status without messages has no row.

Called by: operators, monitoring. Reads only; transaction: the caller''s. Reads the index on status from end to end.

Example
  mysql> CALL outbox_status_v1();
  +----------+----------+----------+----------------+------------------+
  | status   | messages | received | oldest_seconds | next_due_seconds |
  +----------+----------+----------+----------------+------------------+
  | consumed |      120 |        0 |      86.270000 |             NULL |
  | pending  |        3 |        0 |       0.050000 |        -0.050000 |
  +----------+----------+----------+----------------+------------------+
'
SQL SECURITY DEFINER
READS SQL DATA
BEGIN
  SELECT /*+ SET_VAR(sql_big_selects = 1) */ status,
         CAST(SUM(messages) AS SIGNED) AS messages,
         CAST(SUM(IF(origin_topic IS NULL, 0, messages)) AS SIGNED) AS received,
         MAX(oldest_seconds) AS oldest_seconds,
         MIN(next_due_seconds) AS next_due_seconds
    FROM outbox_status
   GROUP BY status
   ORDER BY status;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (912, 'V0912__status_v1.sql');
