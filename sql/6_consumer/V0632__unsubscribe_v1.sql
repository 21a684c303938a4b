SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_unsubscribe_v1;

DELIMITER $$

CREATE PROCEDURE outbox_unsubscribe_v1 (
  IN p_source TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_event_type TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin
)
COMMENT '
Ends a subscription. What was received before keeps taking effect.

Parameters
  p_source TEXT, 1 to 255 characters: as it was subscribed to
  p_event_type TEXT, 1 to 255 characters: as it was subscribed to

Result set: source, event_type, and changed, which is 0 if there was no such subscription.

Errors
  30001 a name is missing or empty; 30002 too long

Called by: operators, an application''s own migrations. Transaction: joins the caller''s, so that a migration that is
rolled back leaves nothing; under autocommit it has one of its own. Writes to outbox_audit if it changes something.

Example
  mysql> CALL outbox_unsubscribe_v1(''/outboxd/shop/%'', ''order_placed'');
  +-----------------+--------------+---------+
  | source          | event_type   | changed |
  +-----------------+--------------+---------+
  | /outboxd/shop/% | order_placed |       1 |
  +-----------------+--------------+---------+
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_audit_id BIGINT UNSIGNED;
  DECLARE v_is_own_transaction BOOLEAN DEFAULT FALSE;
  DECLARE v_before VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;

  IF COALESCE(CHAR_LENGTH(p_source), 0) NOT BETWEEN 1 AND 255 THEN
    CALL outbox_internal_reject_text_v1('p_source', p_source, 255);
  END IF;
  IF COALESCE(CHAR_LENGTH(p_event_type), 0) NOT BETWEEN 1 AND 255 THEN
    CALL outbox_internal_reject_text_v1('p_event_type', p_event_type, 255);
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
    SELECT MAX(biz_type) INTO v_before FROM outbox_subscriptions WHERE source = p_source AND event_type = p_event_type FOR UPDATE;
    IF v_before IS NOT NULL THEN
      DELETE FROM outbox_subscriptions WHERE source = p_source AND event_type = p_event_type;
      CALL outbox_internal_audit_v1('unsubscribe', JSON_OBJECT(
        'source', p_source, 'event_type', p_event_type, 'before', v_before), v_audit_id);
    END IF;
    IF v_is_own_transaction THEN
      COMMIT AND NO CHAIN NO RELEASE;
    END IF;
  END;
  SELECT p_source AS source, p_event_type AS event_type, v_audit_id IS NOT NULL AS changed;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (632, 'V0632__unsubscribe_v1.sql');
