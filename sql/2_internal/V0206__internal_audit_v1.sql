SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_audit_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_audit_v1 (
  IN p_action VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_details JSON,
  INOUT p_audit_id BIGINT UNSIGNED
)
COMMENT '
Records an operator''s action in outbox_audit, with the session''s account and this server''s time.
Internal: the operator''s routines call it inside the transaction that makes the change, and only where there is one.

Parameters
  p_action VARCHAR(64): the routine without outbox_ and _v<n>
  p_details JSON: the arguments and what changed, one object; members that are null are left out
  INOUT p_audit_id BIGINT UNSIGNED: NULL adds a row and returns its id; an id updates that row, for a routine that works
    in batches

The session''s LAST_INSERT_ID() stays as it was.

Transaction: the caller''s.

Example
  mysql> SET @id = NULL;
  mysql> CALL outbox_internal_audit_v1(''requeue'', ''{"id": 7, "messages": 1}'', @id);
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_last_insert_id BIGINT UNSIGNED DEFAULT LAST_INSERT_ID();
  DECLARE v_details JSON DEFAULT JSON_MERGE_PATCH('{}', p_details);
  IF p_audit_id IS NULL THEN
    INSERT INTO outbox_audit (action, details) VALUES (p_action, v_details);
    SET p_audit_id = LAST_INSERT_ID();
    DO LAST_INSERT_ID(v_last_insert_id);
  ELSE
    UPDATE outbox_audit SET details = v_details WHERE id = p_audit_id;
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (206, 'V0206__internal_audit_v1.sql');
