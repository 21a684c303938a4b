SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_delete_biz_type_v1;

DELIMITER $$

CREATE PROCEDURE outbox_delete_biz_type_v1 (
  IN p_biz_type TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin
)
COMMENT '
Deletes a business type that nobody uses any more. Without it, messages of that name are publish-only: Kafka''s acknowledgement
consumes them. So it is refused while one of them is open (pending or published) or a subscription names the type.

Parameters
  p_biz_type TEXT, 1 to 64 characters: the business type

Result set: changed, which is 0 if there was no such type.

Errors
  30001 p_biz_type is NULL or empty; 30002 too long; 30016 it is still used

Called by: operators, an application''s own migrations. Transaction: joins the caller''s; under autocommit it has one of
its own. Writes to outbox_audit if it changes something.

Example
  mysql> CALL outbox_delete_biz_type_v1(''order_paid'');
  +---------+
  | changed |
  +---------+
  |       1 |
  +---------+
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_audit_id BIGINT UNSIGNED;
  DECLARE v_is_own_transaction BOOLEAN DEFAULT FALSE;
  DECLARE v_before JSON;

  IF COALESCE(CHAR_LENGTH(p_biz_type), 0) NOT BETWEEN 1 AND 64 THEN
    CALL outbox_internal_reject_text_v1('p_biz_type', p_biz_type, 64);
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
    SELECT JSON_ARRAYAGG(JSON_OBJECT('handler', handler, 'batch_handler', batch_handler, 'ordering', ordering, 'max_retry', max_retry,
             'backoff_base_seconds', backoff_base_seconds, 'backoff_cap_seconds', backoff_cap_seconds))
      INTO v_before
      FROM outbox_biz_types
     WHERE biz_type = p_biz_type
       FOR UPDATE;
    IF v_before IS NOT NULL THEN
      IF EXISTS (
          SELECT /*+ SET_VAR(sql_big_selects = 1) */ 1
            FROM agent_outbox_messages FORCE INDEX (idx_outbox_status_next)
           WHERE status IN ('pending', 'published')
             AND biz_type = p_biz_type) THEN
        CALL outbox_internal_raise_v1(30016, CONCAT('p_biz_type has messages that are pending or published: ', p_biz_type));
      END IF;
      IF EXISTS (SELECT 1 FROM outbox_subscriptions WHERE biz_type = p_biz_type) THEN
        CALL outbox_internal_raise_v1(30016, CONCAT('p_biz_type is what a subscription names: ', p_biz_type));
      END IF;
      DELETE FROM outbox_biz_types WHERE biz_type = p_biz_type;
      CALL outbox_internal_audit_v1('delete_biz_type', JSON_OBJECT('biz_type', p_biz_type, 'before', JSON_EXTRACT(v_before, '$[0]')), v_audit_id);
    END IF;
    IF v_is_own_transaction THEN
      COMMIT AND NO CHAIN NO RELEASE;
    END IF;
  END;
  SELECT v_before IS NOT NULL AS changed;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (845, 'V0845__delete_biz_type_v1.sql');
