SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_requeue_dead_v1;

DELIMITER $$

CREATE PROCEDURE outbox_requeue_dead_v1 (
  IN p_topic TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_biz_type TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_error_like TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_before DATETIME(6),
  IN p_per_second INT,
  IN p_limit INT,
  OUT p_changed INT
)
COMMENT '
Brings many dead letters back to pending, by ascending id: outbox_requeue_v1 for each one that the filters match. With
p_per_second they become due one after the other, so that whatever had failed is not flooded.

Parameters
  p_topic TEXT: only this topic; NULL: any
  p_biz_type TEXT: only this business type; NULL: any
  p_error_like TEXT: only where last_error is LIKE this, with the wildcards % and _; NULL: any
  p_before DATETIME(6): only what died before this time, UTC; NULL: any
  p_per_second INT: how many become due in a second, the first now; NULL: all now
  p_limit INT: messages at most, up to 1000000; NULL or 0: 1000
  OUT p_changed INT: how many changed; messages that another transaction has locked are left out

Errors
  30005 p_per_second or p_limit is out of range; 30006 called inside a transaction

Called by: operators. Owns its transactions (READ COMMITTED), one for at most 1000 messages (fewer if they are large:
outbox_internal_fit_v1); if it is cut off, what is committed stays. Writes one row to outbox_audit.

Example
  mysql> CALL outbox_requeue_dead_v1(''chat'', NULL, ''%read only%'', NULL, 100, 5000, @changed);
  mysql> SELECT @changed;
  +----------+
  | @changed |
  +----------+
  |      312 |
  +----------+
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_start DATETIME(6) DEFAULT UTC_TIMESTAMP(6);
  DECLARE v_most_messages INT DEFAULT 1000;
  DECLARE v_at INT DEFAULT 0;
  DECLARE v_audit_id BIGINT UNSIGNED;
  DECLARE v_ids, v_batch JSON;
  DECLARE v_errno INT;
  DECLARE v_messages, v_changed, v_skipped INT DEFAULT 0;
  DECLARE v_bytes, v_most_bytes, v_new_audit_id BIGINT UNSIGNED;
  DECLARE v_row_image, v_verdict VARCHAR(8) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;

  IF p_per_second < 1 THEN
    CALL outbox_internal_raise_v1(30005, CONCAT('p_per_second must be at least 1: ', p_per_second));
  END IF;
  CALL outbox_internal_require_no_transaction_v1('outbox_requeue_dead_v1');
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
        CALL outbox_internal_lock_available_v1(v_batch, 'dead');
        SET v_changed = 0, v_new_audit_id = v_audit_id;
        IF v_batch IS NOT NULL THEN
          UPDATE JSON_TABLE(v_batch, '$[*]' COLUMNS (place FOR ORDINALITY, id BIGINT UNSIGNED PATH '$')) AS chosen
            STRAIGHT_JOIN agent_outbox_messages AS m FORCE INDEX (PRIMARY) ON m.id = chosen.id
             SET m.status = 'pending',
                 m.retry_count = 0,
                 m.next_retry_at = v_start + INTERVAL COALESCE((p_changed + chosen.place - 1) * 1000000 DIV p_per_second, 0) MICROSECOND,
                 m.updated_at = v_start;
          SET v_changed = ROW_COUNT();
          CALL outbox_internal_audit_v1('requeue_dead', JSON_OBJECT(
            'topic', p_topic, 'biz_type', p_biz_type, 'error_like', p_error_like, 'before', p_before,
            'per_second', p_per_second, 'limit', p_limit, 'messages', p_changed + v_changed,
            'first_id', JSON_EXTRACT(v_ids, '$[0]'), 'last_id', JSON_EXTRACT(v_batch, '$[last]')), v_new_audit_id);
        END IF;
        COMMIT AND NO CHAIN NO RELEASE;
        SET v_audit_id = v_new_audit_id;
        SET p_changed = p_changed + v_changed;
        SET v_at = v_at + v_messages;
      END;
    END WHILE;
  END;
  CALL outbox_internal_spare_images_v1(v_row_image);
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (804, 'V0804__requeue_dead_v1.sql');
