SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_list_failures_v1;

DELIMITER $$

CREATE PROCEDURE outbox_list_failures_v1 (
  IN p_id BIGINT UNSIGNED
)
COMMENT '
Lists the failures of one message, the first one first. Of a message that has failed more often than its max_retry,
because it was requeued, the latest are kept.

Parameters
  p_id BIGINT UNSIGNED: the message

Result set: failure, the n-th of this message; at, when, UTC; stage, where: relay (Kafka refused the record), consumer (its
handler failed) or operator (given up); errno, the number of MySQL''s error, NULL where there is none; error, the text. No
rows where it has never failed, or there is no such message.

Called by: operators. Reads only; transaction: the caller''s.

Example
  mysql> CALL outbox_list_failures_v1(7);
  +---------+----------------------------+----------+-------+-----------------------------------------------+
  | failure | at                         | stage    | errno | error                                         |
  +---------+----------------------------+----------+-------+-----------------------------------------------+
  |       1 | 2026-01-01 12:00:00.123456 | consumer |  1036 | Table ''chat_histories'' is read only           |
  +---------+----------------------------+----------+-------+-----------------------------------------------+
'
SQL SECURITY DEFINER
READS SQL DATA
BEGIN
  SELECT failure, at, stage, errno, error
    FROM outbox_failures
   WHERE message_id = p_id
   ORDER BY failure;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (905, 'V0905__list_failures_v1.sql');
