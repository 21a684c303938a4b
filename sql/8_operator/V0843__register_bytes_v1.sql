SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_register_bytes_v1;

DELIMITER $$

CREATE PROCEDURE outbox_register_bytes_v1 (
  IN p_biz_type TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_takes_bytes BOOLEAN
)
COMMENT '
Says whether a registered business type takes bytes: values of received records (outbox_receive_v1) that need be no JSON, such as
Avro or Protobuf. Its handler gets every value as a JSON string in base64, also one that happens to be JSON; a tombstone is null.

Parameters
  p_biz_type TEXT, 1 to 64 characters: the business type
  p_takes_bytes BOOLEAN: whether it takes bytes; it holds for what is received from now on

Result set: biz_type, takes_bytes, and changed, which is 0 if nothing changed.

Errors
  30001 p_biz_type is missing or empty; 30002 too long; 30005 p_takes_bytes is NULL
  30008 p_biz_type is not registered

Called by: operators, an application''s own migrations. Transaction: joins the caller''s, so that a migration that is
rolled back leaves nothing; under autocommit it has one of its own. Writes to outbox_audit if it changes something.

Example
  mysql> CALL outbox_register_bytes_v1(''ship_order'', TRUE);
  +------------+-------------+---------+
  | biz_type   | takes_bytes | changed |
  +------------+-------------+---------+
  | ship_order |           1 |       1 |
  +------------+-------------+---------+
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_audit_id BIGINT UNSIGNED;
  DECLARE v_is_own_transaction BOOLEAN DEFAULT FALSE;
  DECLARE v_before BOOLEAN;

  IF COALESCE(CHAR_LENGTH(p_biz_type), 0) NOT BETWEEN 1 AND 64 THEN
    CALL outbox_internal_reject_text_v1('p_biz_type', p_biz_type, 64);
  END IF;
  IF p_takes_bytes IS NULL THEN
    CALL outbox_internal_raise_v1(30005, 'p_takes_bytes must be TRUE or FALSE: NULL');
  END IF;

  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION
    BEGIN
      IF v_is_own_transaction THEN
        ROLLBACK AND NO CHAIN NO RELEASE;
      END IF;
      RESIGNAL;
    END;
    CALL outbox_internal_begin_v1(v_is_own_transaction);
    SELECT MAX(takes_bytes) INTO v_before FROM outbox_biz_types WHERE biz_type = p_biz_type FOR UPDATE;
    IF v_before IS NULL THEN
      CALL outbox_internal_raise_v1(30008, CONCAT('p_biz_type is not registered in outbox_biz_types: ', p_biz_type));
    END IF;
    IF v_before <> (p_takes_bytes <> 0) THEN
      UPDATE outbox_biz_types SET takes_bytes = p_takes_bytes <> 0 WHERE biz_type = p_biz_type;
      CALL outbox_internal_audit_v1('register_bytes', JSON_OBJECT('biz_type', p_biz_type, 'before', v_before, 'after', p_takes_bytes <> 0), v_audit_id);
    END IF;
    IF v_is_own_transaction THEN
      COMMIT AND NO CHAIN NO RELEASE;
    END IF;
  END;
  SELECT p_biz_type AS biz_type, p_takes_bytes <> 0 AS takes_bytes, v_audit_id IS NOT NULL AS changed;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (843, 'V0843__register_bytes_v1.sql');
