SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_forget_failures_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_forget_failures_v1 (
  IN p_ids JSON
)
COMMENT '
Deletes the failures of messages that have been deleted. Of messages that are still there nothing is deleted.
Internal: whatever deletes messages calls it, in the same transaction.

Parameters
  p_ids JSON: array of ids, in any order; NULL: none

Costs one look into the index where none of them has failed. Transaction: the caller''s.

Example
  mysql> CALL outbox_internal_forget_failures_v1(''[1, 2]'');
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_first_id, v_last_id BIGINT UNSIGNED;

  SELECT MIN(id), MAX(id)
    INTO v_first_id, v_last_id
    FROM JSON_TABLE(COALESCE(p_ids, '[]'), '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$')) AS gone;
  IF EXISTS (SELECT 1 FROM outbox_failures WHERE message_id BETWEEN v_first_id AND v_last_id) THEN
    DELETE /*+ SET_VAR(sql_big_selects = 1) */ f
      FROM JSON_TABLE(p_ids, '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$')) AS gone
      STRAIGHT_JOIN outbox_failures AS f FORCE INDEX (PRIMARY) ON f.message_id = gone.id
      LEFT JOIN agent_outbox_messages AS m ON m.id = gone.id
     WHERE m.id IS NULL;
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (216, 'V0216__internal_forget_failures_v1.sql');
