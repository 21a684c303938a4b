SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_note_wait_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_note_wait_v1 (
  IN p_biz_type VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_id BIGINT UNSIGNED,
  IN p_error TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  INOUT p_waits JSON
)
COMMENT '
Notes that the handler of a business type has waited in vain for a lock. One message that waits may need the lock of its
own lane alone. Where another one waits within 5 seconds, in this call or in one of the next, or after its business type was
held, the whole type is held for 1 second, and for 2, 4 and so on to 32 where it was held within the last minute.
outbox_internal_hold_types_v1 says what that means.
Internal: outbox_internal_handle_v1, outbox_internal_handle_in_bulk_v1, outbox_internal_consume_alone_v1 and
outbox_internal_take_effect_v1 call it.

Parameters
  p_biz_type VARCHAR(64): the business type
  p_id BIGINT UNSIGNED: the message; 0: one of several, so that it says nothing about others; NULL: hold the type at once
  p_error TEXT: what it waits for
  INOUT p_waits JSON: {"type": true} of each business type that has waited in this call

Changes the session variable @outbox_held, {"type": {"biz_type": the type, "until": it is held until then, UTC, "seconds":
for how long, "error": what it waits for, "waited_at": when it waited last, "id": which message did}}. No transaction.

Example
  mysql> SET @waits = ''{}'';
  mysql> CALL outbox_internal_note_wait_v1(''order_placed'', 1, ''Lock wait timeout exceeded'', @waits);
'
SQL SECURITY DEFINER
CONTAINS SQL
BEGIN
  DECLARE v_now DATETIME(6) DEFAULT UTC_TIMESTAMP(6);
  DECLARE v_longest_wait_seconds INT DEFAULT 32;
  DECLARE v_recent_seconds INT DEFAULT 5;
  DECLARE v_seconds INT;
  DECLARE v_until, v_waited_at DATETIME(6);
  DECLARE v_id BIGINT UNSIGNED;
  DECLARE v_path VARCHAR(300) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin DEFAULT CONCAT('$.', JSON_QUOTE(p_biz_type) COLLATE utf8mb4_0900_bin);
  DECLARE v_held JSON DEFAULT IF(JSON_VALID(@outbox_held), @outbox_held, '{}');

  SELECT MAX(held.until), COALESCE(MAX(held.seconds), 0), MAX(held.waited_at), COALESCE(MAX(held.id), 0)
    INTO v_until, v_seconds, v_waited_at, v_id
    FROM JSON_TABLE(JSON_EXTRACT(v_held, v_path), '$' COLUMNS (
           until DATETIME(6) PATH '$.until',
           seconds INT PATH '$.seconds',
           waited_at DATETIME(6) PATH '$.waited_at',
           id BIGINT UNSIGNED PATH '$.id')) AS held;
  IF p_id IS NULL OR (p_id > 0 AND v_id NOT IN (0, p_id) AND GREATEST(v_until, v_waited_at) > v_now - INTERVAL v_recent_seconds SECOND) THEN
    -- Held again within a minute: it has been locked all the time.
    SET v_seconds = IF(v_until > v_now - INTERVAL 1 MINUTE, LEAST(v_longest_wait_seconds, GREATEST(1, 2 * v_seconds)), 1);
    SET v_until = v_now + INTERVAL v_seconds SECOND;
  END IF;
  SET @outbox_held = JSON_SET(v_held, v_path, JSON_OBJECT(
    'biz_type', p_biz_type,
    'until', CAST(COALESCE(v_until, v_now) AS CHAR),
    'seconds', v_seconds,
    'error', LEFT(p_error, 500),
    'waited_at', CAST(v_now AS CHAR),
    'id', IF(p_id > 0, p_id, v_id)));
  SET p_waits = JSON_SET(COALESCE(p_waits, '{}'), v_path, TRUE);
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (619, 'V0619__internal_note_wait_v1.sql');
