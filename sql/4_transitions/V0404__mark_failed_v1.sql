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
A failure of a pending or published message: one retry more is counted and the message is pending again after the
backoff of its business type; at max_retry (the business type''s, else its own) it is dead. Consumed and dead messages
stay as they are.
Where the type is ordered by key, the later messages of its topic and key that are published go back to pending
with it, so that they are sent again behind it; a dead message holds back nobody.

Parameters
  p_id BIGINT UNSIGNED: the message
  p_reason LONGTEXT: becomes last_error, cut to 2000 characters

Errors
  30004 there is no such message

Called by: relays and consumers. Transaction: the caller''s.

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
  DECLARE v_base, v_cap BIGINT UNSIGNED;
  DECLARE v_max_retry INT;
  DECLARE v_ordering VARCHAR(8) CHARACTER SET utf8mb4;
  DECLARE v_changed INT;

  -- Aggregates, so that a type that is not registered has the defaults. Locking, so that an older snapshot of the
  -- caller's transaction does not hide the message, which is changed below.
  SELECT COALESCE(MAX(t.backoff_base_seconds), 1), COALESCE(MAX(t.backoff_cap_seconds), 32), COALESCE(MAX(t.ordering), 'key'), MAX(t.max_retry)
    INTO v_base, v_cap, v_ordering, v_max_retry
    FROM agent_outbox_messages AS m
    JOIN outbox_biz_types AS t ON t.biz_type = m.biz_type
   WHERE m.id = p_id
     FOR UPDATE OF m;

  -- Assignments run from left to right: retry_count is still the old one until it is assigned, last.
  UPDATE agent_outbox_messages
     SET next_retry_at = IF(retry_count + 1 >= COALESCE(v_max_retry, IF(max_retry > 0, max_retry, 20)), NULL,
                            v_now + INTERVAL LEAST(v_cap, v_base << LEAST(GREATEST(retry_count, 0), 20)) SECOND),
         status = IF(retry_count + 1 >= COALESCE(v_max_retry, IF(max_retry > 0, max_retry, 20)), 'dead', 'pending'),
         last_error = LEFT(p_reason, 2000),
         updated_at = v_now,
         retry_count = retry_count + 1
   WHERE id = p_id
     AND status IN ('pending', 'published');
  SET v_changed = ROW_COUNT();

  IF v_changed = 0 THEN
    CALL outbox_internal_require_message_v1(p_id);
  ELSEIF v_ordering = 'key' THEN
    CALL outbox_internal_requeue_followers_v1(p_id);
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (404, 'V0404__mark_failed_v1.sql');
