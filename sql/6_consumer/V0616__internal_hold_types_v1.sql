SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_hold_types_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_hold_types_v1 (
  IN p_biz_type VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_error TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin
)
COMMENT '
Holds a business type whose handler waits for a lock whatever the lane, for instance on a whole table: all its messages are
set back (outbox_internal_set_back_v1), also those of the calls to come, for 1 second, and twice as long each time that
it is so again, up to 32 seconds. Otherwise each call would wait for that lock, and the other types with it.
Internal: outbox_consume_v1 and outbox_internal_handle_v1 call it.

Parameters
  p_biz_type VARCHAR(64): the business type to hold from now on; NULL: sets back the messages of the types that are held
  p_error TEXT: what its handler said; NULL where p_biz_type is NULL

The session variable @outbox_held has what is held: {"type": [until, seconds, error], ...}. Reads and changes outbox_batch.
Transaction: the caller''s.

Example
  mysql> CALL outbox_internal_hold_types_v1(''order_placed'', ''Lock wait timeout exceeded; try restarting transaction'');
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_now DATETIME(6) DEFAULT UTC_TIMESTAMP(6);
  DECLARE v_error TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;
  DECLARE v_held, v_ids JSON;

  IF p_biz_type IS NOT NULL THEN
    CALL outbox_internal_note_held_v1(p_biz_type, p_error);
  END IF;
  SET v_held = IF(JSON_VALID(@outbox_held), @outbox_held, '{}');
  SELECT JSON_ARRAYAGG(held.id), MIN(held.error)
    INTO v_ids, v_error
    FROM (
      SELECT b.id, JSON_UNQUOTE(JSON_EXTRACT(v_held, CONCAT('$.', JSON_QUOTE(b.biz_type) COLLATE utf8mb4_0900_bin, '[2]'))) AS error
        FROM outbox_batch AS b
       WHERE b.outcome = 'todo'
         AND CAST(JSON_UNQUOTE(JSON_EXTRACT(v_held, CONCAT('$.', JSON_QUOTE(b.biz_type) COLLATE utf8mb4_0900_bin, '[0]'))) AS DATETIME(6)) > v_now
       ORDER BY b.id
       LIMIT 18446744073709551615
    ) AS held;
  IF v_ids IS NOT NULL THEN
    CALL outbox_internal_set_back_v1(v_ids, COALESCE(p_error, v_error));
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (616, 'V0616__internal_hold_types_v1.sql');
