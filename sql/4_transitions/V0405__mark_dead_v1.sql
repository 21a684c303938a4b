SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_mark_dead_v1;

DELIMITER $$

CREATE PROCEDURE outbox_mark_dead_v1 (
  IN p_id BIGINT UNSIGNED,
  IN p_reason LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin
)
COMMENT '
pending or published to dead: the message can never succeed. Consumed and dead messages stay as they are. The messages
that wait behind it in its lane are free. The reason is entered into outbox_failures.
Only an operator''s requeue brings a dead message back.

Parameters
  p_id BIGINT UNSIGNED: the message
  p_reason LONGTEXT: becomes last_error, cut to 2000 characters

Errors
  30004 there is no such message

Called by: relays, consumers, operators. Transaction: the caller''s; the transition is one UPDATE,
atomic under autocommit.

Example
  mysql> CALL outbox_mark_dead_v1(1, ''the conversation was deleted'');
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  CALL outbox_internal_mark_dead_v1(p_id, p_reason, NULL, NULL);
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (405, 'V0405__mark_dead_v1.sql');
