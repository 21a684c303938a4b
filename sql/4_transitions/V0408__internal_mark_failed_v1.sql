SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_mark_failed_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_mark_failed_v1 (
  IN p_id BIGINT UNSIGNED,
  IN p_reason LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_stage ENUM('relay', 'consumer', 'operator') CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_errno INT
)
COMMENT '
outbox_mark_failed_v1, told where the message failed and with which error: the one place where a failure is counted. It is
entered into outbox_failures.
Internal: outbox_mark_failed_v1, outbox_internal_mark_batch_v1 and the consumer''s routines call it.

Parameters
  p_id BIGINT UNSIGNED: the message
  p_reason LONGTEXT: becomes last_error, cut to 2000 characters
  p_stage ENUM(''relay'', ''consumer'', ''operator''): where it failed, as in outbox_failures; NULL: by its status, a pending
    one failed in the relay, a published one in the consumer
  p_errno INT: the number of MySQL''s error; NULL: there is none

Errors
  30004 there is no such message

Transaction: the caller''s.

Example
  mysql> CALL outbox_internal_mark_failed_v1(1, ''chat_histories is read only'', ''consumer'', 1036);
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_now DATETIME(6) DEFAULT UTC_TIMESTAMP(6);
  DECLARE v_default_max_retry INT DEFAULT 20;
  DECLARE v_base, v_cap, v_wait BIGINT UNSIGNED;
  DECLARE v_failures, v_max_retry INT;
  DECLARE v_ordering VARCHAR(8) CHARACTER SET utf8mb4;
  DECLARE v_stage VARCHAR(8) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;
  DECLARE v_changed INT;

  -- Aggregates, so that there is a row also for an unknown id. Locking, so that an older snapshot of the caller's
  -- transaction does not hide the message, which is changed below. A type that is not registered has the defaults.
  SELECT MAX(m.retry_count) + 1,
         COALESCE(MAX(t.max_retry), MAX(NULLIF(GREATEST(m.max_retry, 0), 0)), v_default_max_retry),
         COALESCE(MAX(t.backoff_base_seconds), 1),
         COALESCE(MAX(t.backoff_cap_seconds), 32),
         COALESCE(MAX(t.ordering), 'key'),
         COALESCE(p_stage, IF(MAX(m.status) = 'published', 'consumer', 'relay'))
    INTO v_failures, v_max_retry, v_base, v_cap, v_ordering, v_stage
    FROM agent_outbox_messages AS m
    LEFT JOIN outbox_biz_types AS t ON t.biz_type = m.biz_type
   WHERE m.id = p_id
     FOR UPDATE OF m;
  CALL outbox_internal_backoff_v1(v_failures, v_base, v_cap, v_wait);

  -- Assignments run from left to right: retry_count is still the old one until it is assigned, last.
  UPDATE agent_outbox_messages
     SET status = IF(retry_count + 1 >= v_max_retry, 'dead', 'pending'),
         next_retry_at = IF(retry_count + 1 >= v_max_retry, NULL, v_now + INTERVAL v_wait SECOND),
         last_error = LEFT(p_reason, 2000),
         updated_at = v_now,
         retry_count = retry_count + 1
   WHERE id = p_id
     AND status IN ('pending', 'published');
  SET v_changed = ROW_COUNT();

  IF v_changed = 0 THEN
    CALL outbox_internal_require_message_v1(p_id);
  ELSE
    CALL outbox_internal_note_failure_v1(p_id, v_now, v_stage, p_errno, p_reason);
    IF v_ordering = 'key' AND v_failures < v_max_retry THEN
      CALL outbox_internal_requeue_followers_v1(p_id);
    ELSE
      CALL outbox_internal_wake_lanes_v1(JSON_ARRAY(p_id));
    END IF;
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (408, 'V0408__internal_mark_failed_v1.sql');
