SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_requeue_dead_v1;

DELIMITER $$

CREATE PROCEDURE outbox_requeue_dead_v1 (
  IN p_topic TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_biz_type TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_message_key TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_error_like TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_before DATETIME(6),
  IN p_per_second INT,
  IN p_limit INT,
  OUT p_changed INT
)
COMMENT '
Brings many dead letters back to pending, by ascending id: outbox_requeue_v1 for each one that the filters match. With
p_per_second they become due one after the other, so that whatever had failed is not flooded.

Parameters
  p_topic TEXT: only this topic; NULL: any
  p_biz_type TEXT: only this business type; NULL: any
  p_message_key TEXT: only this key; NULL: any
  p_error_like TEXT: only where last_error is LIKE this, with the wildcards % and _; NULL: any
  p_before DATETIME(6): only what died before this time, UTC; NULL: any
  p_per_second INT: how many become due in a second, the first now; NULL: all now
  p_limit INT: messages at most, up to 1000000; NULL or 0: 1000
  OUT p_changed INT: how many changed; messages that another transaction has locked are left out

Errors
  30005 p_per_second or p_limit is out of range; 30006 called inside a transaction

Called by: operators. Owns its transactions (READ COMMITTED), one for at most 1000 messages
(fewer if they are large: outbox_internal_fit_v1); if it is cut off, what is committed stays. Writes one row to
outbox_audit.

Example
  mysql> CALL outbox_requeue_dead_v1(''chat'', NULL, NULL, ''%read only%'', NULL, 100, 5000, @changed);
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
  IF p_per_second < 1 THEN
    CALL outbox_internal_raise_v1(30005, CONCAT('p_per_second must be at least 1: ', p_per_second));
  END IF;
  CALL outbox_internal_change_chosen_v1('requeue_dead', p_topic, p_biz_type, p_message_key, p_error_like, p_before,
    p_per_second, NULL, p_limit, p_changed);
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (804, 'V0804__requeue_dead_v1.sql');
