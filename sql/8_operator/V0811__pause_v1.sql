SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_pause_v1;

DELIMITER $$

CREATE PROCEDURE outbox_pause_v1 (
  IN p_topic TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_biz_type TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin
)
COMMENT '
Stops relaying a topic or a business type, until outbox_resume_v1: its messages stay pending. Applications
can still enqueue, and other topics and types are relayed. Order holds: behind a message of a paused business type that
is ordered by key, the later messages of the same topic and key wait too, whatever their type.

What a relay has already claimed is still sent, and what is in Kafka is still consumed: to stop an effect at once, stop
the consumers. Relays take the paused messages out of their queues as they find them, so that they cost nothing while they
wait, however many they are.

Parameters
  p_topic TEXT, 1 to 249 characters: the topic; NULL where p_biz_type is given
  p_biz_type TEXT, 1 to 64 characters: the business type, registered or not; NULL where p_topic is given

Result set: kind, name, paused_at (UTC), paused_by, and changed, which is 0 if it was paused before.

Errors
  30001 neither or both are given, or the name is empty; 30002 too long

Called by: operators, an application''s own migrations. Transaction: joins the caller''s; under autocommit it has one of
its own. Writes to outbox_audit if it changes something.

Example
  mysql> CALL outbox_pause_v1(''chat'', NULL);
  +-------+------+----------------------------+--------------+---------+
  | kind  | name | paused_at                  | paused_by    | changed |
  +-------+------+----------------------------+--------------+---------+
  | topic | chat | 2026-01-01 12:00:00.123456 | ada@10.1.2.3 |       1 |
  +-------+------+----------------------------+--------------+---------+
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_kind VARCHAR(8) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin DEFAULT IF(p_topic IS NULL, 'biz_type', 'topic');
  DECLARE v_name TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin DEFAULT COALESCE(p_topic, p_biz_type);
  DECLARE v_audit_id BIGINT UNSIGNED;
  DECLARE v_is_own_transaction BOOLEAN DEFAULT FALSE;
  DECLARE v_changed BOOLEAN DEFAULT TRUE;
  DECLARE v_paused_at DATETIME(6);
  DECLARE v_paused_by VARCHAR(288) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;

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
    BEGIN
      DECLARE CONTINUE HANDLER FOR 1062
      BEGIN
        -- It may be over, with messages that are on their way back: these stay where they are.
        UPDATE outbox_pauses
           SET resumed_at = NULL,
               paused_at = UTC_TIMESTAMP(6),
               paused_by = USER()
         WHERE kind = v_kind
           AND name = v_name
           AND resumed_at IS NOT NULL;
        SET v_changed = ROW_COUNT() > 0;
      END;
      INSERT INTO outbox_pauses (kind, name) VALUES (v_kind, v_name);
    END;
    SELECT MAX(paused_at), MAX(paused_by)
      INTO v_paused_at, v_paused_by
      FROM outbox_pauses
     WHERE kind = v_kind
       AND name = v_name
       FOR SHARE;
    IF v_changed THEN
      CALL outbox_internal_audit_v1('pause', JSON_OBJECT(v_kind, v_name), v_audit_id);
    END IF;
    IF v_is_own_transaction THEN
      COMMIT AND NO CHAIN NO RELEASE;
    END IF;
  END;
  SELECT v_kind AS kind, v_name AS name, v_paused_at AS paused_at, v_paused_by AS paused_by, v_changed AS changed;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (811, 'V0811__pause_v1.sql');
