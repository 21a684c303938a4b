SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_require_message_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_require_message_v1 (
  IN p_id BIGINT UNSIGNED
)
COMMENT '
Raises an error if there is no message with this id; otherwise does nothing.
Internal: a transition that changed no row calls it, because that may be a final status or a wrong id.

Parameters
  p_id BIGINT UNSIGNED: a message

Errors
  30004 p_id is NULL or no message has it

Reads only; transaction: the caller''s.

Example
  mysql> CALL outbox_internal_require_message_v1(7);
  ERROR 30004 (45000): p_id 7: there is no such message
'
SQL SECURITY DEFINER
READS SQL DATA
BEGIN
  IF NOT EXISTS (SELECT 1 FROM agent_outbox_messages WHERE id = p_id) OR p_id IS NULL THEN
    CALL outbox_internal_raise_v1(30004, CONCAT('p_id ', COALESCE(p_id, 'NULL'), ': there is no such message'));
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (203, 'V0203__internal_require_message_v1.sql');
