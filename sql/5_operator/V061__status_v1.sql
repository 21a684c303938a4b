SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';

DROP PROCEDURE IF EXISTS outbox_status_v1;

DELIMITER $$

CREATE PROCEDURE outbox_status_v1 ()
COMMENT '
Counts the messages by status and tells the age of the oldest of each.

Result set: status; messages, their number; oldest_seconds, how long ago the one with the lowest id was enqueued;
next_due_seconds, in how long the next pending one is due (negative: it is overdue; NULL: none is pending).
A status without messages has no row.

Called by: operators, monitoring. Reads only; transaction: the caller''s. Reads the index on status from end to end.

Example
  mysql> CALL outbox_status_v1();
  +-----------+----------+----------------+------------------+
  | status    | messages | oldest_seconds | next_due_seconds |
  +-----------+----------+----------------+------------------+
  | consumed  |      120 |          86.27 |             NULL |
  | pending   |        3 |           0.05 |            -0.05 |
  +-----------+----------+----------------+------------------+
'
SQL SECURITY DEFINER
READS SQL DATA
BEGIN
  DECLARE v_now DATETIME(6) DEFAULT UTC_TIMESTAMP(6);
  SELECT counted.status,
         counted.messages,
         TIMESTAMPDIFF(MICROSECOND, m.created_at, v_now) / 1e6 AS oldest_seconds,
         TIMESTAMPDIFF(MICROSECOND, v_now, counted.next_due_at) / 1e6 AS next_due_seconds
    FROM (
      SELECT status, COUNT(*) AS messages, MIN(id) AS first_id, MIN(next_retry_at) AS next_due_at
        FROM agent_outbox_messages FORCE INDEX (idx_outbox_status_next)
       GROUP BY status
    ) AS counted
    JOIN agent_outbox_messages AS m ON m.id = counted.first_id
   ORDER BY counted.status;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (61, 'V061__status_v1.sql');
