SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_hold_types_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_hold_types_v1 ()
COMMENT '
Sets back the messages of business types that are held, because their handlers wait for a lock whatever the lane, for
instance on a whole table (outbox_internal_note_wait_v1): otherwise each call would wait for that lock, and the other
types with it. Of a type that has waited within the last seconds, messages are not given to the batch handler: one that
waits for its own lock alone would keep all the others waiting with it.
Internal: outbox_consume_v1 and outbox_internal_handle_v1 call it.

Reads and changes outbox_batch. Reads the session variable @outbox_held, and sets it to NULL once nothing has waited
for a minute. Transaction: the caller''s.

Example
  mysql> CALL outbox_internal_hold_types_v1();
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_now DATETIME(6) DEFAULT UTC_TIMESTAMP(6);
  DECLARE v_recent_seconds INT DEFAULT 5;
  DECLARE v_error TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;
  DECLARE v_held JSON DEFAULT IF(JSON_VALID(@outbox_held), @outbox_held, '{}');
  DECLARE v_ids JSON;

  UPDATE /*+ SET_VAR(sql_safe_updates = 0) */ JSON_TABLE(v_held, '$.*' COLUMNS (
           biz_type VARCHAR(64) PATH '$.biz_type',
           until DATETIME(6) PATH '$.until',
           waited_at DATETIME(6) PATH '$.waited_at')) AS held
    STRAIGHT_JOIN outbox_batch AS b ON b.biz_type = held.biz_type
     SET b.batch_handler = NULL
   WHERE b.outcome = 'todo'
     AND GREATEST(held.until, held.waited_at) > v_now - INTERVAL v_recent_seconds SECOND;
  SELECT JSON_ARRAYAGG(seen.id), MIN(seen.error)
    INTO v_ids, v_error
    FROM (
      SELECT b.id, held.error
        FROM JSON_TABLE(v_held, '$.*' COLUMNS (
               biz_type VARCHAR(64) PATH '$.biz_type',
               until DATETIME(6) PATH '$.until',
               error TEXT PATH '$.error')) AS held
        STRAIGHT_JOIN outbox_batch AS b ON b.biz_type = held.biz_type
       WHERE b.outcome = 'todo'
         AND held.until > v_now
       ORDER BY b.id
       LIMIT 18446744073709551615
    ) AS seen;
  IF v_ids IS NOT NULL THEN
    CALL outbox_internal_set_back_v1(v_ids, v_error);
  END IF;
  -- A message alone is consumed with less where nothing is noted.
  IF NOT EXISTS (
    SELECT 1
      FROM JSON_TABLE(v_held, '$.*' COLUMNS (until DATETIME(6) PATH '$.until', waited_at DATETIME(6) PATH '$.waited_at')) AS held
     WHERE GREATEST(held.until, held.waited_at) > v_now - INTERVAL 1 MINUTE) THEN
    SET @outbox_held = NULL;
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (616, 'V0616__internal_hold_types_v1.sql');
