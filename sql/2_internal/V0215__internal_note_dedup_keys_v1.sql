SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_note_dedup_keys_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_note_dedup_keys_v1 (
  IN p_from_id BIGINT UNSIGNED
)
COMMENT '
Writes into the dedup keys that were taken which messages have them.
Internal: outbox_internal_enqueue_part_v1 calls it, behind outbox_internal_take_dedup_keys_v1.

Parameters
  p_from_id BIGINT UNSIGNED: the first message that this transaction has stored since

Transaction: joins the caller''s. Locks: the keys'' rows, which the caller has locked already.

Example
  mysql> CALL outbox_internal_note_dedup_keys_v1(7);
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_taken JSON;
  -- In two steps: an UPDATE of a join locks all that it reads, and with it the end of the table.
  SELECT /*+ SET_VAR(sql_big_selects = 1) */ JSON_ARRAYAGG(JSON_ARRAY(m.id, m.dedup_key))
    INTO v_taken
    FROM agent_outbox_messages AS m FORCE INDEX (PRIMARY)
   WHERE m.id >= p_from_id
     AND m.dedup_key IS NOT NULL;
  UPDATE /*+ SET_VAR(sql_safe_updates = 0) */ JSON_TABLE(COALESCE(v_taken, '[]'), '$[*]' COLUMNS (
           id BIGINT UNSIGNED PATH '$[0]',
           dedup_key VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin PATH '$[1]')) AS taken
    STRAIGHT_JOIN outbox_dedup_keys AS k FORCE INDEX (PRIMARY) ON k.dedup_key = taken.dedup_key
     SET k.message_id = taken.id
   WHERE k.message_id = 0;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (215, 'V0215__internal_note_dedup_keys_v1.sql');
