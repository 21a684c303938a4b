SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_requeue_followers_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_requeue_followers_v1 (
  IN p_id BIGINT UNSIGNED
)
COMMENT '
Sends the published followers of a failed message back to pending, due when it is due: they have overtaken it and
would only be deferred when a consumer reads them. No retry is counted for them. A follower that another transaction
has locked is skipped, and so are those that do not fit into a transaction, or that come behind 100 others of the lane
that are not published: the consumer will defer them.
Internal: outbox_mark_failed_v1 calls it. Does nothing where the failed message is not pending.

Parameters
  p_id BIGINT UNSIGNED: the message that failed

Transaction: the caller''s. Locks the followers that are free, and waits for none: the caller may have
locked later ones already.

Example
  mysql> CALL outbox_internal_requeue_followers_v1(1);
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_most INT DEFAULT 100;
  DECLARE v_due_at DATETIME(6);
  DECLARE v_lane INT UNSIGNED;
  DECLARE v_topic, v_message_key VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;
  DECLARE v_after BIGINT UNSIGNED DEFAULT p_id;
  DECLARE v_part, v_found, v_followers JSON;
  DECLARE v_messages INT;
  DECLARE v_bytes BIGINT UNSIGNED;

  SELECT MAX(next_retry_at), MAX(open_lane), MAX(topic), MAX(message_key)
    INTO v_due_at, v_lane, v_topic, v_message_key
    FROM agent_outbox_messages
   WHERE id = p_id
     AND status = 'pending';
  -- Found without locks, then changed by primary key: an UPDATE that looks for them by their lane would wait for the
  -- transactions of applications that are enqueuing into it. What is published comes before what is in the queue, so the rest
  -- of a lane, which may be long, is not read; if one was overlooked there, it is deferred when it arrives.
  look: LOOP
    SELECT MAX(part.id), JSON_ARRAYAGG(part.id)
      INTO v_after, v_part
      FROM (
        SELECT id
          FROM agent_outbox_messages FORCE INDEX (outbox_open_lane)
         WHERE open_lane = v_lane
           AND is_waiting = 0
           AND id > v_after
         ORDER BY open_lane, is_waiting, id
         LIMIT v_most
      ) AS part;
    SELECT JSON_ARRAYAGG(follower.id)
      INTO v_found
      FROM JSON_TABLE(COALESCE(v_part, '[]'), '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$')) AS part
      STRAIGHT_JOIN agent_outbox_messages AS follower FORCE INDEX (PRIMARY) ON follower.id = part.id
     WHERE follower.topic = v_topic
       AND follower.message_key = v_message_key
       AND follower.status = 'published'
       AND NOT EXISTS (SELECT 1 FROM outbox_biz_types AS t WHERE t.biz_type = follower.biz_type AND t.ordering = 'none');
    IF v_found IS NULL THEN
      LEAVE look;
    END IF;
    SET v_followers = COALESCE(JSON_MERGE_PRESERVE(v_followers, v_found), v_found);
  END LOOP;

  IF v_followers IS NOT NULL THEN
    CALL outbox_internal_fit_v1(v_followers, NULL, v_messages, v_bytes);
    CALL outbox_internal_lock_available_v1(v_followers, 'published');
  END IF;
  IF v_followers IS NOT NULL THEN
    UPDATE JSON_TABLE(v_followers, '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$')) AS follower
      STRAIGHT_JOIN agent_outbox_messages AS m FORCE INDEX (PRIMARY) ON m.id = follower.id
       SET m.status = 'pending',
           m.next_retry_at = v_due_at,
           m.updated_at = UTC_TIMESTAMP(6)
     -- Under autocommit the locks are gone again.
     WHERE m.status = 'published';
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (402, 'V0402__internal_requeue_followers_v1.sql');
