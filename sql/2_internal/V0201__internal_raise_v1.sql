SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_raise_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_raise_v1 (
  IN p_errno SMALLINT UNSIGNED,
  IN p_text TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin
)
COMMENT '
Raises an error of outboxd: SQLSTATE 45000 with an error number of our own.
Internal: the other routines call it; it touches no data.

Parameters
  p_errno SMALLINT UNSIGNED: one of
    30001 an argument is NULL or empty
    30002 an argument is too long
    30003 a text is not valid JSON
    30004 there is no message with this id
    30005 a number is out of range
    30006 called inside a transaction, but the routine must own its own
    30007 the payload does not fit its business type
    30008 the name of a handler is not a procedure of this database
    30009 a handler rolled back its caller''s transaction; outbox_consume_v1 catches it, nobody else sees it
    30010 a batch handler, or a lock wait, ended its caller''s transaction; the same
    30011 the session''s insert_id is set
    30012 an option is unknown, or has a value of the wrong kind
    30013 Kafka takes no topic of this name
    30014 the payload is larger than outbox_set_max_payload_bytes_v1 allows
    30015 bytes for a business type that has a handler
    30016 a business type that is to be deleted is still used
  p_text TEXT: what was wrong with which value; cut to 128 characters, the limit of a condition.

Example
  mysql> CALL outbox_internal_raise_v1(30004, ''p_id 7: there is no such message'');
  ERROR 30004 (45000): p_id 7: there is no such message
'
SQL SECURITY DEFINER
NO SQL
BEGIN
  DECLARE v_text VARCHAR(128) CHARACTER SET utf8mb4 DEFAULT LEFT(p_text, 128);
  SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = p_errno, MESSAGE_TEXT = v_text;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (201, 'V0201__internal_raise_v1.sql');
