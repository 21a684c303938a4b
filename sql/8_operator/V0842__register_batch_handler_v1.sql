SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_register_batch_handler_v1;

DELIMITER $$

CREATE PROCEDURE outbox_register_batch_handler_v1 (
  IN p_biz_type TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_batch_handler TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin
)
COMMENT '
Gives a registered business type a batch handler: a procedure that lets many messages take effect at once, at a fraction
of the cost of a call for each. It gets the messages in the session''s temporary table outbox_batch, those with outcome
''offered'': it reads id, biz_type, topic, message_key and payload there. It takes one parameter, p_is_check, and is
called twice:
  TRUE   before anything is marked. It may give back messages that it cannot take, by setting their outcome to ''todo'':
         the handler gets these one by one. It changes nothing else.
  FALSE  it has the effect of the handler for every message that is still offered.
An error undoes everything that it did, and the handler gets the messages one by one. It neither commits nor rolls back:
outboxd marks the messages consumed in the same transaction.

Parameters
  p_biz_type TEXT, 1 to 64 characters: the business type
  p_batch_handler TEXT, 1 to 64 characters: a procedure of this database, in the case in which it was created, that takes
    (p_is_check BOOLEAN); NULL: takes the batch handler away

Result set: biz_type, handler, batch_handler, and changed, which is 0 if nothing changed.

Errors
  30001 a name is missing or empty; 30002 too long
  30008 p_biz_type is not registered or has no handler, or p_batch_handler is no procedure of this database with one parameter

Called by: operators, an application''s own migrations. Transaction: joins the caller''s, so that a migration that is
rolled back leaves nothing; under autocommit it has one of its own. Writes to outbox_audit if it changes something.

Example
  mysql> CREATE PROCEDURE ship_orders_v1 (IN p_is_check BOOLEAN)
      -> INSERT INTO shipments (order_id, message_id)
      -> SELECT JSON_VALUE(payload, ''$.order'' RETURNING UNSIGNED), id FROM outbox_batch WHERE outcome = ''offered'' AND NOT p_is_check;
  mysql> CALL outbox_register_batch_handler_v1(''order_placed'', ''ship_orders_v1'');
  +--------------+---------------+----------------+---------+
  | biz_type     | handler       | batch_handler  | changed |
  +--------------+---------------+----------------+---------+
  | order_placed | ship_order_v1 | ship_orders_v1 |       1 |
  +--------------+---------------+----------------+---------+
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_audit_id BIGINT UNSIGNED;
  DECLARE v_is_own_transaction, v_is_registered BOOLEAN DEFAULT FALSE;
  DECLARE v_handler, v_before VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;

  IF COALESCE(CHAR_LENGTH(p_biz_type), 0) NOT BETWEEN 1 AND 64 THEN
    CALL outbox_internal_reject_text_v1('p_biz_type', p_biz_type, 64);
  END IF;
  IF CHAR_LENGTH(p_batch_handler) NOT BETWEEN 1 AND 64 THEN
    CALL outbox_internal_reject_text_v1('p_batch_handler', p_batch_handler, 64);
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
    SELECT COUNT(*) > 0, MAX(handler), MAX(batch_handler)
      INTO v_is_registered, v_handler, v_before
      FROM outbox_biz_types
     WHERE biz_type = p_biz_type
       FOR UPDATE;
    IF NOT v_is_registered THEN
      CALL outbox_internal_raise_v1(30008, CONCAT('p_biz_type is not registered in outbox_biz_types: ', p_biz_type));
    ELSEIF v_handler IS NULL THEN
      CALL outbox_internal_raise_v1(30008, CONCAT('p_biz_type has no handler, which must come first: ', p_biz_type));
    END IF;
    IF p_batch_handler IS NOT NULL AND (
        SELECT COUNT(*) <> 1 OR SUM(parameter_mode = 'IN') <> 1
          FROM information_schema.parameters
         WHERE specific_schema = DATABASE()
           AND specific_name = p_batch_handler
           AND routine_type = 'PROCEDURE') THEN
      CALL outbox_internal_raise_v1(30008, CONCAT('p_batch_handler is no procedure (p_is_check) of this database: ', p_batch_handler));
    END IF;
    IF NOT v_before <=> p_batch_handler THEN
      UPDATE outbox_biz_types SET batch_handler = p_batch_handler WHERE biz_type = p_biz_type;
      CALL outbox_internal_audit_v1('register_batch_handler', JSON_OBJECT(
        'biz_type', p_biz_type, 'before', v_before, 'after', p_batch_handler), v_audit_id);
    END IF;
    IF v_is_own_transaction THEN
      COMMIT AND NO CHAIN NO RELEASE;
    END IF;
  END;
  SELECT p_biz_type AS biz_type, v_handler AS handler, p_batch_handler AS batch_handler, v_audit_id IS NOT NULL AS changed;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (842, 'V0842__register_batch_handler_v1.sql');
