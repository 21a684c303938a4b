SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_note_held_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_note_held_v1 (
  IN p_biz_type VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_error TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin
)
COMMENT '
Notes that the handler of a business type waits for a lock: its messages are set back for 1 second, and for 2, 4 and so on
to 32 where they were within the last minute.
Internal: outbox_internal_hold_types_v1 and outbox_internal_take_effect_v1 call it.

Parameters
  p_biz_type VARCHAR(64): the business type
  p_error TEXT: what it waits for

Changes the session variable @outbox_held, {"type": [until when, UTC; for how many seconds; the error]}. No transaction.

Example
  mysql> CALL outbox_internal_note_held_v1(''order_placed'', ''Lock wait timeout exceeded'');
'
SQL SECURITY DEFINER
CONTAINS SQL
BEGIN
  DECLARE v_now DATETIME(6) DEFAULT UTC_TIMESTAMP(6);
  DECLARE v_longest_wait_seconds INT DEFAULT 32;
  DECLARE v_seconds INT DEFAULT 1;
  DECLARE v_path VARCHAR(300) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin DEFAULT CONCAT('$.', JSON_QUOTE(p_biz_type) COLLATE utf8mb4_0900_bin);
  DECLARE v_held JSON DEFAULT IF(JSON_VALID(@outbox_held), @outbox_held, '{}');

  -- Held again within a minute: it has been locked all the time.
  IF CAST(JSON_UNQUOTE(JSON_EXTRACT(v_held, CONCAT(v_path, '[0]'))) AS DATETIME(6)) > v_now - INTERVAL 1 MINUTE THEN
    SET v_seconds = LEAST(v_longest_wait_seconds, 2 * JSON_EXTRACT(v_held, CONCAT(v_path, '[1]')));
  END IF;
  SET @outbox_held = JSON_SET(v_held, v_path, JSON_ARRAY(CAST(v_now + INTERVAL v_seconds SECOND AS CHAR), v_seconds, LEFT(p_error, 500)));
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (619, 'V0619__internal_note_held_v1.sql');
