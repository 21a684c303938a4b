SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_change_chosen_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_change_chosen_v1 (
  IN p_action VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_topic TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_biz_type TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_message_key TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_error_like TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_before DATETIME(6),
  IN p_per_second INT,
  IN p_reason TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_limit INT,
  OUT p_changed INT
)
COMMENT '
Does one of the operator''s actions to all messages that the filters match, by ascending id, in transactions that the server
takes, and enters it into the audit.
Internal: outbox_requeue_dead_v1, outbox_discard_dead_v1, outbox_retry_failing_v1 and outbox_give_up_failing_v1 call it.

Parameters
  p_action VARCHAR(64): requeue_dead, discard_dead, retry_failing or give_up_failing
  p_topic TEXT: only this topic; NULL: any
  p_biz_type TEXT: only this business type; NULL: any
  p_message_key TEXT: only this key; NULL: any
  p_error_like TEXT: only where last_error is LIKE this, with the wildcards % and _; NULL: any
  p_before DATETIME(6): only what died or failed last before this time, UTC; NULL: any
  p_per_second INT: requeue_dead: how many become due in a second; NULL: all now
  p_reason TEXT: give_up_failing: why; NULL: not said
  p_limit INT: messages at most, up to 1000000; NULL or 0: 1000
  OUT p_changed INT: how many changed

Errors
  30005 p_limit is out of range; 30006 called inside a transaction

Owns its transactions (READ COMMITTED).

Example
  mysql> CALL outbox_internal_change_chosen_v1(''requeue_dead'', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, @changed);
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_start DATETIME(6) DEFAULT UTC_TIMESTAMP(6);
  DECLARE v_most_messages INT DEFAULT 1000;
  DECLARE v_at INT DEFAULT 0;
  DECLARE v_audit_id BIGINT UNSIGNED;
  DECLARE v_is_dead BOOLEAN DEFAULT p_action IN ('requeue_dead', 'discard_dead');
  DECLARE v_ids, v_batch, v_named JSON;
  DECLARE v_errno INT;
  DECLARE v_messages, v_changed, v_skipped INT DEFAULT 0;
  DECLARE v_bytes, v_most_bytes, v_new_audit_id BIGINT UNSIGNED;
  DECLARE v_row_image, v_verdict VARCHAR(8) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;
  DECLARE v_discarded JSON DEFAULT IF(p_action = 'discard_dead', '[]', NULL);

  CALL outbox_internal_require_no_transaction_v1(CONCAT('outbox_', p_action, '_v1'));
  SET p_changed = 0;
  CALL outbox_internal_spare_images_v1(v_row_image);
  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION
    BEGIN
      ROLLBACK AND NO CHAIN NO RELEASE;
      CALL outbox_internal_spare_images_v1(v_row_image);
      RESIGNAL;
    END;
    START TRANSACTION;
    CALL outbox_internal_choose_v1(IF(v_is_dead, 'dead', 'failing'), p_topic, p_biz_type, p_message_key, p_error_like, p_before,
      FALSE, NULL, p_limit, v_ids);
    COMMIT AND NO CHAIN NO RELEASE;
    -- Small transactions, because a message that is pending and not committed holds back the later ones of its lane.
    WHILE v_at < JSON_LENGTH(v_ids) DO
      BEGIN
        DECLARE EXIT HANDLER FOR SQLEXCEPTION
        BEGIN
          GET STACKED DIAGNOSTICS CONDITION 1 v_errno = MYSQL_ERRNO;
          CALL outbox_internal_shrink_v1(v_errno, v_messages, v_bytes, v_most_bytes, v_skipped, v_verdict);
          IF v_verdict = 'raise' THEN
            RESIGNAL;
          ELSEIF v_verdict = 'alone' THEN
            SET v_at = v_at + 1;
          END IF;
        END;
        SET v_batch = JSON_EXTRACT(v_ids, CONCAT('$[', v_at, ' to ', v_at + v_most_messages - 1, ']'));
        SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
        START TRANSACTION;
        CALL outbox_internal_fit_v1(v_batch, v_most_bytes, v_messages, v_bytes);
        CALL outbox_internal_lock_available_v1(v_batch, IF(v_is_dead, 'dead', 'pending'));
        SET v_changed = 0, v_new_audit_id = v_audit_id, v_named = v_discarded;
        IF v_batch IS NOT NULL THEN
          CALL outbox_internal_change_batch_v1(p_action, v_batch, v_start, p_changed, p_per_second, p_reason, v_named, v_changed);
        END IF;
        IF v_changed > 0 THEN
          CALL outbox_internal_audit_v1(p_action, JSON_OBJECT(
            'topic', p_topic, 'biz_type', p_biz_type, 'message_key', p_message_key, 'error_like', p_error_like, 'before', p_before,
            'per_second', p_per_second, 'reason', p_reason, 'limit', p_limit, 'messages', p_changed + v_changed, 'discarded', v_named,
            'first_id', IF(v_named IS NULL, JSON_EXTRACT(v_ids, '$[0]'), NULL),
            'last_id', IF(v_named IS NULL, JSON_EXTRACT(v_batch, '$[last]'), NULL)), v_new_audit_id);
        END IF;
        COMMIT AND NO CHAIN NO RELEASE;
        SET v_audit_id = v_new_audit_id;
        SET v_discarded = v_named;
        SET p_changed = p_changed + v_changed;
        SET v_at = v_at + v_messages;
      END;
    END WHILE;
  END;
  CALL outbox_internal_spare_images_v1(v_row_image);
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (807, 'V0807__internal_change_chosen_v1.sql');
