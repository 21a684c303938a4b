SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_retry_failing_v1;

DELIMITER $$

CREATE PROCEDURE outbox_retry_failing_v1 (
  IN p_topic TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_biz_type TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_message_key TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_error_like TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_before DATETIME(6),
  IN p_limit INT,
  OUT p_changed INT
)
COMMENT '
Lets many failing messages be due now, by ascending id: outbox_retry_v1 for each one that has failed and that the filters
match. Without a filter that is every failing message.

Parameters
  p_topic TEXT: only this topic; NULL: any
  p_biz_type TEXT: only this business type; NULL: any
  p_message_key TEXT: only this key; NULL: any
  p_error_like TEXT: only where last_error is LIKE this, with the wildcards % and _; NULL: any
  p_before DATETIME(6): only what failed last, or was retried last, before this time, UTC; NULL: any
  p_limit INT: messages at most, up to 1000000; NULL or 0: 1000
  OUT p_changed INT: how many changed; those that are due already, and those that another transaction has locked, are left out

Errors
  30005 p_limit is out of range; 30006 called inside a transaction

Called by: operators. Owns its transactions (READ COMMITTED), one for at most 1000 messages
(fewer if they are large: outbox_internal_fit_v1); if it is cut off, what is committed stays. Writes one row to
outbox_audit.

Example
  mysql> CALL outbox_retry_failing_v1(''chat'', NULL, NULL, ''%read only%'', NULL, 5000, @changed);
  mysql> SELECT @changed;
  +----------+
  | @changed |
  +----------+
  |      312 |
  +----------+
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  CALL outbox_internal_change_chosen_v1('retry_failing', p_topic, p_biz_type, p_message_key, p_error_like, p_before,
    NULL, NULL, p_limit, p_changed);
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (815, 'V0815__retry_failing_v1.sql');
