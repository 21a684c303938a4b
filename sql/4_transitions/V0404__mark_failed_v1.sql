SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_mark_failed_v1;

DELIMITER $$

CREATE PROCEDURE outbox_mark_failed_v1 (
  IN p_id BIGINT UNSIGNED,
  IN p_reason LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin
)
COMMENT '
Counts a failure of a pending or published message: it is pending again and due after the backoff of its business
type, or dead where max_retry (the business type''s, else its own) is reached. Consumed and dead messages stay as they
are. Where the type is ordered by key, the published followers of its lane go back to pending with it, so that they
are sent again behind it; a dead message holds back nobody.

Parameters
  p_id BIGINT UNSIGNED: the message
  p_reason LONGTEXT: becomes last_error, cut to 2000 characters

Errors
  30004 there is no such message

Called by: relays and consumers. Transaction: the caller''s. Under autocommit each statement is one: the UPDATE that
counts the failure is atomic, and a failure that another session counts at the same moment may share its wait.

Example
  mysql> CALL outbox_mark_failed_v1(1, ''chat_histories is read only'');
  mysql> SELECT status, retry_count, last_error FROM agent_outbox_messages WHERE id = 1;
  +---------+-------------+-----------------------------+
  | status  | retry_count | last_error                  |
  +---------+-------------+-----------------------------+
  | pending |           1 | chat_histories is read only |
  +---------+-------------+-----------------------------+
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_now DATETIME(6) DEFAULT UTC_TIMESTAMP(6);
  DECLARE v_default_max_retry INT DEFAULT 20;
  DECLARE v_base, v_cap, v_wait BIGINT UNSIGNED;
  DECLARE v_failures, v_max_retry INT;
  DECLARE v_ordering VARCHAR(8) CHARACTER SET utf8mb4;
  DECLARE v_changed INT;

  -- Aggregates, so that there is a row also for an unknown id. Locking, so that an older snapshot of the caller's
  -- transaction does not hide the message, which is changed below. A type that is not registered has the defaults.
  SELECT MAX(m.retry_count) + 1,
         COALESCE(MAX(t.max_retry), MAX(NULLIF(GREATEST(m.max_retry, 0), 0)), v_default_max_retry),
         COALESCE(MAX(t.backoff_base_seconds), 1),
         COALESCE(MAX(t.backoff_cap_seconds), 32),
         COALESCE(MAX(t.ordering), 'key')
    INTO v_failures, v_max_retry, v_base, v_cap, v_ordering
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
  ELSEIF v_ordering = 'key' AND v_failures < v_max_retry THEN
    CALL outbox_internal_requeue_followers_v1(p_id);
  ELSE
    CALL outbox_internal_wake_lanes_v1(JSON_ARRAY(p_id));
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (404, 'V0404__mark_failed_v1.sql');
