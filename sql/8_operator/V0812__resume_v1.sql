SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_resume_v1;

DELIMITER $$

CREATE PROCEDURE outbox_resume_v1 (
  IN p_topic TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_biz_type TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin
)
COMMENT '
Resumes relaying a topic or a business type that outbox_pause_v1 has stopped. New messages are relayed at once; relays
bring those that have waited back into their queues, the oldest first, a batch at each claim. How many are still
to come is in the view outbox_policies.

Parameters
  p_topic TEXT, 1 to 249 characters: the topic; NULL where p_biz_type is given
  p_biz_type TEXT, 1 to 64 characters: the business type; NULL where p_topic is given

Result set: kind, name, and changed, which is 0 if it was not paused.

Errors
  30001 neither or both are given, or the name is empty; 30002 too long

Called by: operators, an application''s own migrations. Transaction: joins the caller''s; under autocommit it has one of
its own. Writes to outbox_audit if it changes something.

Example
  mysql> CALL outbox_resume_v1(''chat'', NULL);
  +-------+------+---------+
  | kind  | name | changed |
  +-------+------+---------+
  | topic | chat |       1 |
  +-------+------+---------+
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_kind VARCHAR(8) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin DEFAULT IF(p_topic IS NULL, 'biz_type', 'topic');
  DECLARE v_name TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin DEFAULT COALESCE(p_topic, p_biz_type);
  DECLARE v_audit_id BIGINT UNSIGNED;
  DECLARE v_is_own_transaction BOOLEAN DEFAULT FALSE;
  DECLARE v_changed BOOLEAN DEFAULT TRUE;

  IF (p_topic IS NULL) = (p_biz_type IS NULL) THEN
    CALL outbox_internal_raise_v1(30001, 'either p_topic or p_biz_type must be given, and the other be NULL');
  END IF;
  IF CHAR_LENGTH(v_name) NOT BETWEEN 1 AND IF(p_topic IS NULL, 64, 249) THEN
    CALL outbox_internal_reject_text_v1(CONCAT('p_', v_kind), v_name, IF(p_topic IS NULL, 64, 249));
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
    UPDATE outbox_pauses
       SET resumed_at = UTC_TIMESTAMP(6)
     WHERE kind = v_kind
       AND name = v_name
       AND resumed_at IS NULL;
    SET v_changed = ROW_COUNT() > 0;
    IF v_changed THEN
      CALL outbox_internal_audit_v1('resume', JSON_OBJECT(v_kind, v_name), v_audit_id);
    END IF;
    IF v_is_own_transaction THEN
      COMMIT AND NO CHAIN NO RELEASE;
    END IF;
  END;
  SELECT v_kind AS kind, v_name AS name, v_changed AS changed;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (812, 'V0812__resume_v1.sql');
