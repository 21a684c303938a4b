SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_discard_dead_v1;

DELIMITER $$

CREATE PROCEDURE outbox_discard_dead_v1 (
  IN p_topic TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_biz_type TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_error_like TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_before DATETIME(6),
  IN p_limit INT,
  OUT p_changed INT
)
COMMENT '
Deletes many dead letters for good, by ascending id: outbox_discard_v1 for each one that the filters match.
Without a filter that is every dead letter.

Parameters
  p_topic TEXT: only this topic; NULL: any
  p_biz_type TEXT: only this business type; NULL: any
  p_error_like TEXT: only where last_error is LIKE this, with the wildcards % and _; NULL: any
  p_before DATETIME(6): only what died before this time, UTC; NULL: any
  p_limit INT: messages at most, up to 1000000; NULL or 0: 1000
  OUT p_changed INT: how many were deleted; messages that another transaction has locked are left out

Errors
  30005 p_limit is out of range; 30006 called inside a transaction

Called by: operators, outbox_purge_dead_v1. Owns its transactions (READ COMMITTED), one for at most 1000 messages
(fewer if they are large: outbox_internal_fit_v1); if it is cut off, what is committed stays. Writes one row to
outbox_audit, which has the id, biz_type, topic, message_key and last_error of the first 100 messages.

Example
  mysql> CALL outbox_discard_dead_v1(''chat'', NULL, ''%deleted%'', NULL, 5000, @changed);
  mysql> SELECT @changed;
  +----------+
  | @changed |
  +----------+
  |       12 |
  +----------+
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_most_messages INT DEFAULT 1000;
  DECLARE v_most_named INT DEFAULT 100;
  DECLARE v_at INT DEFAULT 0;
  DECLARE v_audit_id BIGINT UNSIGNED;
  DECLARE v_ids, v_batch, v_named JSON;
  DECLARE v_errno INT;
  DECLARE v_messages, v_changed, v_skipped INT DEFAULT 0;
  DECLARE v_bytes, v_most_bytes, v_new_audit_id BIGINT UNSIGNED;
  DECLARE v_row_image, v_verdict VARCHAR(8) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;
  DECLARE v_discarded JSON DEFAULT '[]';

  CALL outbox_internal_require_no_transaction_v1('outbox_discard_dead_v1');
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
    CALL outbox_internal_choose_dead_v1(p_topic, p_biz_type, p_error_like, p_before, p_limit, v_ids);
    COMMIT AND NO CHAIN NO RELEASE;
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
        CALL outbox_internal_lock_available_v1(v_batch, 'dead');
        SET v_changed = 0, v_new_audit_id = v_audit_id, v_named = NULL;
        IF v_batch IS NOT NULL THEN
          SELECT JSON_ARRAYAGG(JSON_OBJECT(
                   'id', m.id, 'biz_type', m.biz_type, 'topic', m.topic, 'message_key', m.message_key, 'last_error', m.last_error))
            INTO v_named
            FROM JSON_TABLE(v_batch, '$[*]' COLUMNS (place FOR ORDINALITY, id BIGINT UNSIGNED PATH '$')) AS chosen
            STRAIGHT_JOIN agent_outbox_messages AS m FORCE INDEX (PRIMARY) ON m.id = chosen.id
           WHERE chosen.place <= v_most_named - p_changed;
          SET v_named = JSON_MERGE_PRESERVE(v_discarded, COALESCE(v_named, JSON_ARRAY()));
          DELETE m
            FROM JSON_TABLE(v_batch, '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$')) AS chosen
            STRAIGHT_JOIN agent_outbox_messages AS m FORCE INDEX (PRIMARY) ON m.id = chosen.id;
          SET v_changed = ROW_COUNT();
          CALL outbox_internal_forget_failures_v1(v_batch);
          CALL outbox_internal_audit_v1('discard_dead', JSON_OBJECT(
            'topic', p_topic, 'biz_type', p_biz_type, 'error_like', p_error_like, 'before', p_before,
            'limit', p_limit, 'messages', p_changed + v_changed, 'discarded', v_named), v_new_audit_id);
        END IF;
        COMMIT AND NO CHAIN NO RELEASE;
        SET v_audit_id = v_new_audit_id;
        SET v_discarded = COALESCE(v_named, v_discarded);
        SET p_changed = p_changed + v_changed;
        SET v_at = v_at + v_messages;
      END;
    END WHILE;
  END;
  CALL outbox_internal_spare_images_v1(v_row_image);
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (806, 'V0806__discard_dead_v1.sql');
