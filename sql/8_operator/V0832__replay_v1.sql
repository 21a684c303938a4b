SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_replay_v1;

DELIMITER $$

CREATE PROCEDURE outbox_replay_v1 (
  IN p_from_id BIGINT UNSIGNED,
  IN p_to_id BIGINT UNSIGNED,
  IN p_biz_type TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_topic TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_limit INT,
  OUT p_replayed INT
)
COMMENT '
Lets consumed messages take effect once more: copies them as new pending messages, due now, in the order of their ids.
The consumed ones stay as they are; the copies come after everything that is in the outbox by now. Messages
that were relayed before their business type had a handler are among them: their copies take effect.

Parameters
  p_from_id BIGINT UNSIGNED: the first message; NULL: from the beginning
  p_to_id BIGINT UNSIGNED: the last message; NULL: the newest that there is now
  p_biz_type TEXT: only this business type; NULL: any
  p_topic TEXT: only this topic; NULL: any
  p_limit INT: messages at most, up to 1000000; NULL or 0: 1000
  OUT p_replayed INT: how many were copied

Result set: last_id, the last message that was copied, NULL if none was; and to_id, the end. If p_replayed is p_limit
there may be more: call again from last_id + 1 to to_id, so that the copies, behind to_id, are not copied again.

Errors
  30005 p_limit is out of range; 30006 called inside a transaction

Called by: operators. Owns its transactions (READ COMMITTED), one for at most 1000 messages (fewer if they are large:
outbox_internal_fit_v1); if it is cut off, what is committed stays. Writes one row to outbox_audit, with the range.
Locks none of the consumed messages.

Example
  mysql> CALL outbox_replay_v1(100, 199, NULL, ''chat'', NULL, @replayed);
  +---------+-------+
  | last_id | to_id |
  +---------+-------+
  |     199 |   199 |
  +---------+-------+
  mysql> SELECT @replayed;
  +-----------+
  | @replayed |
  +-----------+
  |       100 |
  +-----------+
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_left INT DEFAULT COALESCE(NULLIF(p_limit, 0), 1000);
  DECLARE v_most_messages INT DEFAULT 1000;
  DECLARE v_from, v_to, v_last_id, v_audit_id BIGINT UNSIGNED;
  DECLARE v_now DATETIME(6);
  DECLARE v_ids JSON;
  DECLARE v_errno INT;
  DECLARE v_messages, v_copied, v_skipped INT DEFAULT 0;
  DECLARE v_bytes, v_most_bytes, v_new_audit_id BIGINT UNSIGNED;
  DECLARE v_verdict VARCHAR(8) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;

  IF v_left NOT BETWEEN 1 AND 1000000 THEN
    CALL outbox_internal_raise_v1(30005, CONCAT('p_limit must be from 0 to 1000000: ', p_limit));
  END IF;
  CALL outbox_internal_require_no_transaction_v1('outbox_replay_v1');
  SET p_replayed = 0;
  SET v_from = COALESCE(p_from_id, 0);
  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION
    BEGIN
      ROLLBACK AND NO CHAIN NO RELEASE;
      RESIGNAL;
    END;
    START TRANSACTION;
    -- The end is fixed now: a copy may be consumed before this call is done, and must not be copied again.
    SELECT LEAST(MAX(id), COALESCE(p_to_id, MAX(id))) INTO v_to FROM agent_outbox_messages;
    COMMIT AND NO CHAIN NO RELEASE;
    -- Small transactions, because a message that is pending and not committed holds back the later ones of its lane.
    batch_by_batch: WHILE v_left > 0 DO
      BEGIN
        DECLARE EXIT HANDLER FOR SQLEXCEPTION
        BEGIN
          GET STACKED DIAGNOSTICS CONDITION 1 v_errno = MYSQL_ERRNO;
          CALL outbox_internal_shrink_v1(v_errno, v_messages, v_bytes, v_most_bytes, v_skipped, v_verdict);
          IF v_verdict = 'raise' THEN
            RESIGNAL;
          ELSEIF v_verdict = 'alone' THEN
            SET v_from = v_last_id + 1;
          END IF;
        END;
        SET v_messages = LEAST(v_left, v_most_messages);
        SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
        START TRANSACTION;
        SELECT JSON_ARRAYAGG(chosen.id)
          INTO v_ids
          FROM (
            SELECT id
              FROM agent_outbox_messages FORCE INDEX (PRIMARY)
             WHERE id BETWEEN v_from AND v_to
               AND status = 'consumed'
               AND (p_biz_type IS NULL OR biz_type = p_biz_type)
               AND (p_topic IS NULL OR topic = p_topic)
             ORDER BY id
             LIMIT v_messages
          ) AS chosen;
        IF v_ids IS NULL THEN
          COMMIT AND NO CHAIN NO RELEASE;
          LEAVE batch_by_batch;
        END IF;
        CALL outbox_internal_fit_v1(v_ids, v_most_bytes, v_messages, v_bytes);
        SET v_last_id = JSON_EXTRACT(v_ids, '$[last]');
        SET v_now = UTC_TIMESTAMP(6);
        INSERT INTO agent_outbox_messages
          (biz_type, topic, message_key, payload, body, content_type, headers, origin, status, retry_count, max_retry, next_retry_at, created_at, updated_at)
        SELECT m.biz_type, m.topic, m.message_key, m.payload, m.body, m.content_type, m.headers, m.origin, 'pending', 0, m.max_retry, v_now, v_now, v_now
          FROM JSON_TABLE(v_ids, '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$')) AS chosen
          STRAIGHT_JOIN agent_outbox_messages AS m FORCE INDEX (PRIMARY) ON m.id = chosen.id
         ORDER BY m.id;
        SET v_copied = ROW_COUNT();
        SET v_new_audit_id = v_audit_id;
        CALL outbox_internal_audit_v1('replay', JSON_OBJECT(
          'from_id', p_from_id, 'to_id', p_to_id, 'biz_type', p_biz_type, 'topic', p_topic, 'limit', p_limit,
          'messages', p_replayed + v_copied, 'last_id', v_last_id), v_new_audit_id);
        COMMIT AND NO CHAIN NO RELEASE;
        SET v_audit_id = v_new_audit_id;
        SET p_replayed = p_replayed + v_copied;
        SET v_left = v_left - v_messages;
        SET v_from = v_last_id + 1;
      END;
    END WHILE;
  END;
  SELECT IF(p_replayed > 0, v_from - 1, NULL) AS last_id, v_to AS to_id;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (832, 'V0832__replay_v1.sql');
