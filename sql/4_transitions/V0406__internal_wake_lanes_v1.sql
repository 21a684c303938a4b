SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_wake_lanes_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_wake_lanes_v1 (
  IN p_ids JSON
)
COMMENT '
Lets the messages that are parked behind messages of their lanes (outbox_internal_park_v1) come back into the queue, with the
next claim of their relay. For whatever ends a message that waits, or makes it due before its time.
Internal: the transitions of single messages and outbox_consume_v1 call it.

Parameters
  p_ids JSON: [id, ...] of the messages in front of them; NULL: none

Transaction: the caller''s. Locks what is free of one message a lane, and waits for none.

Example
  mysql> CALL outbox_internal_wake_lanes_v1(''[1]'');
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_parked JSON;

  -- Found without locks, then changed by primary key, as in outbox_internal_requeue_followers_v1. The first of a lane wakes
  -- the others.
  SELECT JSON_ARRAYAGG(parked.id)
    INTO v_parked
    FROM JSON_TABLE(COALESCE(p_ids, '[]'), '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$')) AS given
    STRAIGHT_JOIN agent_outbox_messages AS ended FORCE INDEX (PRIMARY) ON ended.id = given.id
    JOIN LATERAL (
      SELECT m.id
        FROM agent_outbox_messages AS m FORCE INDEX (outbox_open_lane)
       WHERE m.open_lane = CRC32(CONCAT(ended.topic, ':', ended.message_key))
         AND m.is_waiting = 1
         AND m.id > ended.id
         AND m.topic = ended.topic
         AND m.message_key = ended.message_key
         AND m.waits_for = 1
         AND m.noted_for <=> m.next_retry_at
       ORDER BY m.open_lane, m.is_waiting, m.id
       LIMIT 1
    ) AS parked;
  IF v_parked IS NOT NULL THEN
    CALL outbox_internal_lock_available_v1(v_parked, 'pending');
    UPDATE JSON_TABLE(COALESCE(v_parked, '[]'), '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$')) AS parked
      STRAIGHT_JOIN agent_outbox_messages AS m FORCE INDEX (PRIMARY) ON m.id = parked.id
       SET m.parked_until = UTC_TIMESTAMP(6)
     WHERE m.waits_for = 1;
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (406, 'V0406__internal_wake_lanes_v1.sql');
