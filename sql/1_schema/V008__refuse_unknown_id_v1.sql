SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';

DROP PROCEDURE IF EXISTS outbox_refuse_unknown_id_v1;

DELIMITER $$

CREATE PROCEDURE outbox_refuse_unknown_id_v1 (
  IN p_id BIGINT UNSIGNED
)
COMMENT '
Raises an error where there is no message with this id; otherwise does nothing.
Internal: a transition that changed no row calls it to tell a refused state from a wrong id.

Parameters
  p_id BIGINT UNSIGNED: a message

Errors
  50004 p_id is NULL or no message has it

Reads only; transaction: the caller''s.

Example
  mysql> CALL outbox_refuse_unknown_id_v1(7);
  ERROR 50004 (45000): p_id 7: there is no such message
'
SQL SECURITY DEFINER
READS SQL DATA
BEGIN
  IF NOT EXISTS (SELECT 1 FROM agent_outbox_messages WHERE id = p_id) OR p_id IS NULL THEN
    CALL outbox_raise_v1(50004, CONCAT('p_id ', COALESCE(p_id, 'NULL'), ': there is no such message'));
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (8, 'V008__refuse_unknown_id_v1.sql');
