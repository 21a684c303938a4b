SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_hasten_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_hasten_v1 (
  IN p_ids JSON,
  OUT p_changed INT
)
COMMENT '
Lets pending messages that wait for their time be due now, and with them what waits behind them in their lanes for the same
time: followers that were sent back when they failed. What is parked behind them comes with them by itself.
Internal: outbox_retry_v1, outbox_internal_change_batch_v1 and outbox_internal_give_up_v1 call it.

Parameters
  p_ids JSON: array of ids; those that are not pending, or due already, stay as they are
  OUT p_changed INT: how many of them are due now that were not

Transaction: the caller''s, READ COMMITTED. Locks the messages, waiting for them, and those followers that are free.

Example
  mysql> CALL outbox_internal_hasten_v1(''[7]'', @changed);
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_now DATETIME(6) DEFAULT UTC_TIMESTAMP(6);
  DECLARE v_with_them JSON;
  DECLARE v_messages INT;
  DECLARE v_bytes BIGINT UNSIGNED;

  -- Found without locks, as in outbox_internal_requeue_followers_v1. Those that were deferred come a microsecond later.
  SELECT JSON_ARRAYAGG(follower.id)
    INTO v_with_them
    FROM JSON_TABLE(p_ids, '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$')) AS given
    STRAIGHT_JOIN agent_outbox_messages AS m FORCE INDEX (PRIMARY) ON m.id = given.id
    STRAIGHT_JOIN agent_outbox_messages AS follower FORCE INDEX (outbox_open_lane)
      ON follower.open_lane = m.open_lane
     AND follower.id > m.id
     AND follower.topic = m.topic
     AND follower.message_key = m.message_key
   WHERE m.next_retry_at > v_now
     AND follower.next_retry_at BETWEEN m.next_retry_at AND m.next_retry_at + INTERVAL 1 MICROSECOND;
  UPDATE JSON_TABLE(p_ids, '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$')) AS given
    STRAIGHT_JOIN agent_outbox_messages AS m FORCE INDEX (PRIMARY) ON m.id = given.id
     SET m.next_retry_at = v_now,
         m.updated_at = v_now
   WHERE m.status = 'pending'
     AND m.next_retry_at > v_now;
  SET p_changed = ROW_COUNT();
  IF p_changed > 0 AND v_with_them IS NOT NULL THEN
    CALL outbox_internal_fit_v1(v_with_them, NULL, v_messages, v_bytes);
    CALL outbox_internal_lock_available_v1(v_with_them, 'pending');
    UPDATE JSON_TABLE(COALESCE(v_with_them, '[]'), '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$')) AS given
      STRAIGHT_JOIN agent_outbox_messages AS m FORCE INDEX (PRIMARY) ON m.id = given.id
       SET m.next_retry_at = v_now,
           m.updated_at = v_now
     WHERE m.next_retry_at > v_now;
  END IF;
  IF p_changed > 0 THEN
    CALL outbox_internal_wake_lanes_v1(p_ids);
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (818, 'V0818__internal_hasten_v1.sql');
