SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_give_up_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_give_up_v1 (
  IN p_id BIGINT UNSIGNED,
  IN p_reason TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin
)
COMMENT '
Makes a message dead because an operator says so. What waits behind it is due now.
Internal: outbox_give_up_v1 and outbox_internal_change_batch_v1 call it.

Parameters
  p_id BIGINT UNSIGNED: a message that is pending or published, and locked
  p_reason TEXT: why; NULL: not said

Transaction: the caller''s, READ COMMITTED.

Example
  mysql> CALL outbox_internal_give_up_v1(7, ''the order was cancelled'');
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_error TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;
  DECLARE v_changed INT;

  SELECT MAX(CONCAT('given up', COALESCE(CONCAT(' (', LEFT(p_reason, 500), ')'), ''), COALESCE(CONCAT(': ', last_error), '')))
    INTO v_error
    FROM agent_outbox_messages
   WHERE id = p_id;
  CALL outbox_internal_hasten_v1(JSON_ARRAY(p_id), v_changed);
  CALL outbox_internal_mark_dead_v1(p_id, v_error, 'operator', NULL);
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (819, 'V0819__internal_give_up_v1.sql');
