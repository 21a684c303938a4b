SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_mark_failed_v1;

DELIMITER $$

CREATE PROCEDURE outbox_mark_failed_v1 (
  IN p_id BIGINT UNSIGNED,
  IN p_reason LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin
)
COMMENT '
Counts a failure of a pending or published message: it is pending again and due after the backoff of its business
type, or dead where max_retry (the business type''s, else its own) is reached. Consumed and dead messages stay as they
are. Where the type is ordered by key, the published followers of its lane go back to pending with it, so that they
are sent again behind it; a dead message holds back nobody. The failure is entered into outbox_failures.

Parameters
  p_id BIGINT UNSIGNED: the message
  p_reason LONGTEXT: becomes last_error, cut to 2000 characters

Errors
  30004 there is no such message

Called by: relays and consumers. Transaction: the caller''s. Under autocommit each statement is one: the UPDATE that
counts the failure is atomic, and a failure that another session counts at the same moment may share its wait.

Example
  mysql> CALL outbox_mark_failed_v1(1, ''chat_histories is read only'');
  mysql> SELECT status, retry_count, last_error FROM agent_outbox_messages WHERE id = 1;
  +---------+-------------+-----------------------------+
  | status  | retry_count | last_error                  |
  +---------+-------------+-----------------------------+
  | pending |           1 | chat_histories is read only |
  +---------+-------------+-----------------------------+
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  CALL outbox_internal_mark_failed_v1(p_id, p_reason, NULL, NULL);
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (404, 'V0404__mark_failed_v1.sql');
