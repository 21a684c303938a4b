SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_list_due_v1;

DELIMITER $$

CREATE PROCEDURE outbox_list_due_v1 (
  IN p_limit INT
)
COMMENT '
Lists messages that are pending and due, oldest due time first. For looking only: a relay that owns slots
calls outbox_claim_v1, which keeps the order and hands no message to two relays.

Parameters
  p_limit INT: rows at most; NULL or 0: 100

Result set: the columns of agent_outbox_messages, ordered by next_retry_at, id.

Errors
  30005 p_limit is negative

Called by: relays of the legacy Go service, operators. Reads only; transaction: the caller''s.

Example
  mysql> CALL outbox_list_due_v1(10);
'
SQL SECURITY DEFINER
READS SQL DATA
BEGIN
  DECLARE v_limit INT DEFAULT COALESCE(NULLIF(p_limit, 0), 100);
  DECLARE v_last DATETIME(6);

  IF v_limit < 0 THEN
    CALL outbox_internal_raise_v1(30005, CONCAT('p_limit must not be negative: ', p_limit));
  END IF;
  -- The index has them in the order of their times, and of equal times by type: so first up to which time, and then by id.
  SELECT /*+ SET_VAR(sql_big_selects = 1) */ MAX(due.next_retry_at)
    INTO v_last
    FROM (
      SELECT next_retry_at
        FROM agent_outbox_messages FORCE INDEX (idx_outbox_status_next)
       WHERE status = 'pending'
       ORDER BY status, next_retry_at
       LIMIT v_limit
    ) AS due;
  SELECT /*+ SET_VAR(sql_big_selects = 1) */
         id, biz_type, topic, message_key, payload, body, content_type, headers, origin, dedup_key, status, retry_count, max_retry,
         next_retry_at, last_error, kafka_partition, kafka_offset, published_at, consumed_at, created_at, updated_at
    FROM agent_outbox_messages FORCE INDEX (idx_outbox_status_next)
   WHERE status = 'pending'
     AND (next_retry_at IS NULL OR next_retry_at <= v_last)
     AND (next_retry_at IS NULL OR next_retry_at <= UTC_TIMESTAMP(6))
   ORDER BY next_retry_at, id
   LIMIT v_limit;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (902, 'V0902__list_due_v1.sql');
