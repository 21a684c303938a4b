SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_reject_text_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_reject_text_v1 (
  IN p_name VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_value LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_max_length INT
)
COMMENT '
Raises the error for a text argument that is missing, empty or too long.
Internal: callers test the argument first, so that a good one costs no call.

Parameters
  p_name VARCHAR(64): the name of the argument
  p_value LONGTEXT: its value
  p_max_length INT: how many characters it may have

Errors
  30001 p_value is NULL or empty
  30002 p_value has more than p_max_length characters

Example
  mysql> CALL outbox_internal_reject_text_v1(''p_topic'', NULL, 249);
  ERROR 30001 (45000): p_topic must not be NULL
'
SQL SECURITY DEFINER
NO SQL
BEGIN
  IF p_value IS NULL THEN
    CALL outbox_internal_raise_v1(30001, CONCAT(p_name, ' must not be NULL'));
  ELSEIF p_value = '' THEN
    CALL outbox_internal_raise_v1(30001, CONCAT(p_name, ' must not be empty'));
  ELSE
    CALL outbox_internal_raise_v1(30002, CONCAT(p_name, ' has ', CHAR_LENGTH(p_value), ' characters, at most ', p_max_length, ' are allowed: ', LEFT(p_value, 40), '...'));
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (202, 'V0202__internal_reject_text_v1.sql');
