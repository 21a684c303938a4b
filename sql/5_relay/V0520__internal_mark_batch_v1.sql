SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_mark_batch_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_mark_batch_v1 (
  IN p_relay VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_messages LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_mark VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  OUT p_marked INT
)
COMMENT '
Marks a relay''s batch: only where the relay still owns the message''s slot under a live lease, and only for the claim
that handed the message out, and where no other session has locked it. Everything else stays as it is. The mark published makes a message of a business type without
a handler consumed, and ends the trouble of its topic (outbox_mark_topics_unavailable_v1).
Internal: outbox_internal_mark_in_parts_v1 calls it.

Parameters
  p_relay VARCHAR(128): the relay
  p_messages LONGTEXT: JSON array of {"id", "receipt"} as outbox_claim_v1 returned them, by ascending id, and "reason"
    where the mark is failed or dead, or "partition" and "offset" of the record where it is published
  p_mark VARCHAR(16): published, failed or dead
  OUT p_marked INT: how many messages changed

Errors
  30003 p_messages is not JSON

Transaction: joins the caller''s, who must have begun it READ COMMITTED; under autocommit it has one of its own, because
the fence and the receipt hold only as long as the locks. Locks: the relay''s slots, then the messages in the order in
which they are given.

Example
  mysql> CALL outbox_internal_mark_batch_v1(''relay-a'',
      ->   ''[{"id":1,"receipt":"2026-01-01 12:00:00.123456"}]'', ''published'', @marked);
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_now DATETIME(6) DEFAULT UTC_TIMESTAMP(6);
  DECLARE v_slots BIGINT UNSIGNED;
  DECLARE v_claimed, v_handled_types, v_troubles JSON;
  DECLARE v_id BIGINT UNSIGNED;
  DECLARE v_reason LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;
  DECLARE v_is_own_transaction, v_is_done BOOLEAN DEFAULT FALSE;
  DECLARE refused CURSOR FOR
    SELECT given.id, MAX(given.reason)
      FROM JSON_TABLE(p_messages, '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$.id', reason LONGTEXT PATH '$.reason')) AS given
      JOIN JSON_TABLE(v_claimed, '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$[0]')) AS claimed ON claimed.id = given.id
     GROUP BY given.id
     ORDER BY given.id;
  DECLARE CONTINUE HANDLER FOR NOT FOUND SET v_is_done = TRUE;
  DECLARE EXIT HANDLER FOR SQLEXCEPTION
  BEGIN
    IF v_is_own_transaction THEN
      ROLLBACK AND NO CHAIN NO RELEASE;
    END IF;
    RESIGNAL;
  END;

  IF NOT COALESCE(JSON_VALID(p_messages), FALSE) THEN
    CALL outbox_internal_raise_v1(30003, CONCAT('p_messages is not valid JSON: ', COALESCE(LEFT(p_messages, 80), 'NULL')));
  END IF;
  CALL outbox_internal_begin_v1(v_is_own_transaction);
  CALL outbox_internal_fence_v1(p_relay, v_slots);
  -- Those that no other claim has handed out since: their receipt is still the same.
  SELECT JSON_ARRAYAGG(JSON_ARRAY(m.id, given.kafka_partition, given.kafka_offset))
    INTO v_claimed
    FROM JSON_TABLE(p_messages, '$[*]' COLUMNS (
           id BIGINT UNSIGNED PATH '$.id',
           receipt DATETIME(6) PATH '$.receipt',
           kafka_partition INT PATH '$.partition',
           kafka_offset BIGINT PATH '$.offset')) AS given
    STRAIGHT_JOIN agent_outbox_messages AS m FORCE INDEX (PRIMARY) ON m.id = given.id
   WHERE m.status = 'pending'
     AND m.next_retry_at <=> given.receipt
     AND v_slots >> m.pending_slot & 1
     FOR UPDATE OF m SKIP LOCKED;

  IF p_mark = 'published' THEN
    -- A list, read without a lock: a join would wait for a registration that has not committed.
    SELECT JSON_ARRAYAGG(biz_type) INTO v_handled_types FROM outbox_biz_types WHERE handler IS NOT NULL;
    UPDATE JSON_TABLE(COALESCE(v_claimed, '[]'), '$[*]' COLUMNS (
             id BIGINT UNSIGNED PATH '$[0]',
             kafka_partition INT PATH '$[1]',
             kafka_offset BIGINT PATH '$[2]')) AS acknowledged
      STRAIGHT_JOIN agent_outbox_messages AS m FORCE INDEX (PRIMARY) ON m.id = acknowledged.id
       SET m.status = IF(m.biz_type MEMBER OF (v_handled_types), 'published', 'consumed'),
           m.next_retry_at = NULL,
           m.last_error = NULL,
           m.kafka_partition = COALESCE(acknowledged.kafka_partition, m.kafka_partition),
           m.kafka_offset = COALESCE(acknowledged.kafka_offset, m.kafka_offset),
           m.published_at = v_now,
           m.consumed_at = IF(m.biz_type MEMBER OF (v_handled_types), m.consumed_at, v_now),
           m.updated_at = v_now;
    SET p_marked = ROW_COUNT();
    -- Kafka has taken a record: whatever trouble its topic was in is over, also where a consumer was faster than this mark.
    SELECT JSON_ARRAYAGG(name) INTO v_troubles FROM outbox_pauses WHERE kind = 'trouble' AND resumed_at IS NULL;
    IF v_troubles IS NOT NULL THEN
      UPDATE /*+ SET_VAR(sql_safe_updates = 0) */ outbox_pauses AS p
         SET p.resumed_at = v_now
       WHERE p.kind = 'trouble'
         AND p.resumed_at IS NULL
         AND p.name IN (
           SELECT m.topic
             FROM JSON_TABLE(p_messages, '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$.id')) AS acknowledged
             JOIN agent_outbox_messages AS m ON m.id = acknowledged.id);
    END IF;
  ELSE
    -- One by one, because each has a transition and followers of its own: refused records are few.
    SET p_marked = 0;
    OPEN refused;
    one_by_one: LOOP
      FETCH refused INTO v_id, v_reason;
      IF v_is_done THEN
        LEAVE one_by_one;
      END IF;
      IF p_mark = 'failed' THEN
        CALL outbox_internal_mark_failed_v1(v_id, v_reason, 'relay', NULL);
      ELSE
        CALL outbox_internal_mark_dead_v1(v_id, v_reason, 'relay', NULL);
      END IF;
      SET p_marked = p_marked + 1;
    END LOOP;
    CLOSE refused;
  END IF;
  IF v_is_own_transaction THEN
    COMMIT AND NO CHAIN NO RELEASE;
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (520, 'V0520__internal_mark_batch_v1.sql');
