SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_recognize_v1;

DELIMITER $$

CREATE PROCEDURE outbox_recognize_v1 (
  IN p_messages LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin
)
COMMENT '
Tells what outbox_consume_v1 would find in these records, and changes nothing: whether each agrees with the row of its
message. `outboxd doctor` asks it whether another outbox writes records under the source of this one.

Parameters
  p_messages LONGTEXT: as of outbox_consume_v1

Result set, by id: id, outcome, error. The outcomes are those of outbox_consume_v1 before it begins: unknown, foreign
(error says in what the record differs), duplicate, dead, not reached (another session has locked it), or todo.

Errors
  30003 p_messages is not JSON; 30006 called inside a transaction

Called by: consumers. Owns its transaction (READ COMMITTED), in which it locks the messages for a moment.

Example
  mysql> CALL outbox_recognize_v1(''[{"id":1,"created_at":"2025-01-01 00:00:00","topic":"chat","key":"c-1"}]'');
  +----+---------+-------------------------------------------------------------------+
  | id | outcome | error                                                             |
  +----+---------+-------------------------------------------------------------------+
  |  1 | foreign | its ce_time is not that of message 1, 2026-01-01 12:00:00.123456   |
  +----+---------+-------------------------------------------------------------------+
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_most_bytes BIGINT UNSIGNED DEFAULT ~0;
  DECLARE v_todo, v_duplicates INT;
  DECLARE v_bytes, v_first_id BIGINT UNSIGNED;

  IF NOT COALESCE(JSON_VALID(p_messages), FALSE) THEN
    CALL outbox_internal_raise_v1(30003, CONCAT('p_messages is not valid JSON: ', COALESCE(LEFT(p_messages, 80), 'NULL')));
  END IF;
  CALL outbox_internal_require_no_transaction_v1('outbox_recognize_v1');
  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION
    BEGIN
      ROLLBACK AND NO CHAIN NO RELEASE;
      RESIGNAL;
    END;
    CALL outbox_internal_open_batch_v1(p_messages, '[]', v_most_bytes, v_todo, v_bytes, v_first_id, v_duplicates);
    COMMIT AND NO CHAIN NO RELEASE;
  END;
  SELECT id, outcome, error FROM outbox_batch ORDER BY id;
  COMMIT AND NO CHAIN NO RELEASE;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (612, 'V0612__recognize_v1.sql');
