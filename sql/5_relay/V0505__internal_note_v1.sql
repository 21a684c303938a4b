SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_note_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_note_v1 (
  IN p_notes JSON
)
COMMENT '
Notes at pending messages what a relay has found out about them: that they are in the queue, or what they are parked for.
A message that another transaction has locked is passed over, and so are those that do not fit into one transaction.
Internal: outbox_internal_wake_v1 and outbox_internal_park_v1 call it.

Parameters
  p_notes JSON: [[id, parked_for, parked_until], ...] by ascending id, as the columns of agent_outbox_messages; NULL: none

Transaction: the caller''s, READ COMMITTED.

Example
  mysql> CALL outbox_internal_note_v1(''[[1, null, null], [2, 0, "2026-01-01 12:00:00.123456"]]'');
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_ids JSON DEFAULT JSON_EXTRACT(p_notes, '$[*][0]');
  DECLARE v_notes JSON;
  DECLARE v_messages INT;
  DECLARE v_bytes BIGINT UNSIGNED;
  DECLARE v_row_image VARCHAR(8) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;

  IF v_ids IS NOT NULL THEN
    CALL outbox_internal_fit_v1(v_ids, NULL, v_messages, v_bytes);
    SELECT JSON_ARRAYAGG(JSON_ARRAY(note.id, note.parked_for, note.parked_until))
      INTO v_notes
      FROM JSON_TABLE(JSON_EXTRACT(p_notes, CONCAT('$[0 to ', v_messages - 1, ']')), '$[*]' COLUMNS (
             id BIGINT UNSIGNED PATH '$[0]',
             parked_for BIGINT UNSIGNED PATH '$[1]',
             parked_until DATETIME(6) PATH '$[2]')) AS note
      STRAIGHT_JOIN agent_outbox_messages AS m FORCE INDEX (PRIMARY) ON m.id = note.id
     WHERE m.status = 'pending'
       FOR UPDATE OF m SKIP LOCKED;
    CALL outbox_internal_spare_images_v1(v_row_image);
    UPDATE /*+ SET_VAR(sql_safe_updates = 0) */ JSON_TABLE(COALESCE(v_notes, '[]'), '$[*]' COLUMNS (
             id BIGINT UNSIGNED PATH '$[0]',
             parked_for BIGINT UNSIGNED PATH '$[1]',
             parked_until DATETIME(6) PATH '$[2]')) AS note
      STRAIGHT_JOIN agent_outbox_messages AS m FORCE INDEX (PRIMARY) ON m.id = note.id
       SET m.noted_for = m.next_retry_at,
           m.parked_for = note.parked_for,
           m.parked_until = note.parked_until;
    CALL outbox_internal_spare_images_v1(v_row_image);
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (505, 'V0505__internal_note_v1.sql');
