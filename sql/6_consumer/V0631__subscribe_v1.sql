SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_subscribe_v1;

DELIMITER $$

CREATE PROCEDURE outbox_subscribe_v1 (
  IN p_source TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_event_type TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_biz_type TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin
)
COMMENT '
Subscribes to records that others write to Kafka: they take effect here, exactly once, through the handler of a business
type (outbox_receive_v1). A running consumer that reads their topic takes them from 5 seconds later on; what it has
passed over before stays behind it.

Parameters
  p_source TEXT, 1 to 255 characters: their ce_source, as in the identity of another outbox (outbox_identity_v1); or kafka:TOPIC, the
    records of a topic that have no CloudEvents headers. % stands for any text
  p_event_type TEXT, 1 to 255 characters: their ce_type, which for records of an outbox is the business type; %: any, and also none
  p_biz_type TEXT, 1 to 64 characters: a business type of this outbox that has a handler. If there is a subscription to this source and
    type, it gets this business type

Where several subscriptions match a record, one that names its source decides, otherwise the one with the longest source.

Result set: source, event_type, biz_type, and changed, which is 0 if nothing changed.

Errors
  30001 a name is missing or empty; 30002 too long
  30008 p_biz_type is not registered, or has no handler

Called by: operators, an application''s own migrations. Transaction: joins the caller''s, so that a migration that is
rolled back leaves nothing; under autocommit it has one of its own. Writes to outbox_audit if it changes something.

Example
  mysql> CALL outbox_subscribe_v1(''/outboxd/shop/%'', ''order_placed'', ''ship_order'');
  +-----------------+--------------+------------+---------+
  | source          | event_type   | biz_type   | changed |
  +-----------------+--------------+------------+---------+
  | /outboxd/shop/% | order_placed | ship_order |       1 |
  +-----------------+--------------+------------+---------+
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
    IF NOT EXISTS (SELECT 1 FROM outbox_biz_types WHERE biz_type = p_biz_type AND handler IS NOT NULL FOR SHARE) THEN
      CALL outbox_internal_raise_v1(30008, CONCAT('p_biz_type has no handler, see outbox_register_biz_type_v1: ', p_biz_type));
    END IF;
    SELECT MAX(biz_type) INTO v_before FROM outbox_subscriptions WHERE source = p_source AND event_type = p_event_type FOR UPDATE;
    IF NOT v_before <=> p_biz_type THEN
      INSERT INTO outbox_subscriptions (source, event_type, biz_type) VALUES (p_source, p_event_type, p_biz_type)
      ON DUPLICATE KEY UPDATE biz_type = p_biz_type;
      CALL outbox_internal_audit_v1('subscribe', JSON_OBJECT(
        'source', p_source, 'event_type', p_event_type, 'before', v_before, 'after', p_biz_type), v_audit_id);
    END IF;
    IF v_is_own_transaction THEN
      COMMIT AND NO CHAIN NO RELEASE;
    END IF;
  END;
  SELECT p_source AS source, p_event_type AS event_type, p_biz_type AS biz_type, v_audit_id IS NOT NULL AS changed;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (631, 'V0631__subscribe_v1.sql');
