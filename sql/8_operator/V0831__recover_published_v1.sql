SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_recover_published_v1;

DELIMITER $$

CREATE PROCEDURE outbox_recover_published_v1 (
  IN p_older_than_seconds INT,
  IN p_limit INT,
  OUT p_recovered INT
)
COMMENT '
Sends messages again that were published and not consumed for too long: back to pending, due now. Their records were
lost, or the consumer group''s offsets were set past them. No retry is counted; last_error says that it is sent again.
If the first record turns up after all, the message takes effect once, and the other copy has no effect.

A message whose business type has no handler, because it was taken away or the legacy Go service has published it, is
consumed instead, however short ago it was published: Kafka has it, and nobody else ends it.

Parameters
  p_older_than_seconds INT: recover what was published longer ago than that; if consumers lag behind by more, their
    backlog is sent twice
  p_limit INT: messages at most, up to 10000; NULL or 0: 1000
  OUT p_recovered INT: how many are pending again; messages that another transaction has locked are left out

A call looks at the p_limit lowest published ids of each business type and topic, so that its cost does not depend on
how many are in flight. A lost message is among them as soon as those before it are consumed, or recovered themselves.

Errors
  30001 p_older_than_seconds is NULL; 30005 it or p_limit is out of range; 30006 called inside a transaction

Order: a later message of the same topic and key that is in flight and arrives before this one is deferred by
outbox_consume_v1.

Called by: the daemon from time to time, operators. Owns its transactions (READ COMMITTED), one for at most 1000
messages (fewer if they are large: outbox_internal_fit_v1). Writes to outbox_audit if it recovers something.

Example
  mysql> CALL outbox_recover_published_v1(3600, 1000, @recovered);
  mysql> SELECT @recovered;
  +------------+
  | @recovered |
  +------------+
  |          0 |
  +------------+
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_now DATETIME(6) DEFAULT UTC_TIMESTAMP(6);
  DECLARE v_before DATETIME(6) DEFAULT v_now - INTERVAL p_older_than_seconds SECOND;
  DECLARE v_too_late DATETIME(6) DEFAULT v_now + INTERVAL 1 MINUTE;
  DECLARE v_limit INT DEFAULT COALESCE(NULLIF(p_limit, 0), 1000);
  DECLARE v_audit_id BIGINT UNSIGNED;
  DECLARE v_most_messages INT DEFAULT 1000;
  DECLARE v_at INT DEFAULT 0;
  DECLARE v_ids, v_batch, v_handled_types JSON;
  DECLARE v_consumed, v_ended INT DEFAULT 0;
  DECLARE v_errno INT;
  DECLARE v_messages, v_changed, v_skipped INT DEFAULT 0;
  DECLARE v_bytes, v_most_bytes, v_new_audit_id BIGINT UNSIGNED;
  DECLARE v_row_image, v_verdict VARCHAR(8) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;

  IF p_older_than_seconds IS NULL THEN
    CALL outbox_internal_raise_v1(30001, 'p_older_than_seconds must not be NULL');
  ELSEIF p_older_than_seconds < 0 THEN
    CALL outbox_internal_raise_v1(30005, CONCAT('p_older_than_seconds must not be negative: ', p_older_than_seconds));
  END IF;
  IF v_limit NOT BETWEEN 1 AND 10000 THEN
    CALL outbox_internal_raise_v1(30005, CONCAT('p_limit must be from 0 to 10000: ', p_limit));
  END IF;
  CALL outbox_internal_require_no_transaction_v1('outbox_recover_published_v1');
  SET p_recovered = 0;
  CALL outbox_internal_spare_images_v1(v_row_image);
  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION
    BEGIN
      ROLLBACK AND NO CHAIN NO RELEASE;
      CALL outbox_internal_spare_images_v1(v_row_image);
      RESIGNAL;
    END;
    START TRANSACTION;
    SELECT JSON_ARRAYAGG(biz_type) INTO v_handled_types FROM outbox_biz_types WHERE handler IS NOT NULL;
    -- The index has the published messages by business type, topic and retry_count, and within these by id. DISTINCT and ORDER BY name
    -- all its leading columns, because only then MySQL skips from one group to the next and reads ids in order unsorted.
    -- And <=> NULL, because MySQL 8 does not know that what IS NULL is the same in all rows, and sorts them.
    -- The last part is for messages that the legacy Go service has published without clearing next_retry_at.
    SELECT JSON_ARRAYAGG(stale.id)
      INTO v_ids
      FROM (
        SELECT head.id
          FROM (
            SELECT DISTINCT status, next_retry_at, biz_type, topic, retry_count
              FROM agent_outbox_messages FORCE INDEX (idx_outbox_status_next)
             WHERE status = 'published'
               AND next_retry_at <=> NULL
          ) AS stream
          JOIN LATERAL (
            SELECT m.id, COALESCE(m.published_at, m.updated_at) AS published_at
              FROM agent_outbox_messages AS m FORCE INDEX (idx_outbox_status_next)
             WHERE m.status = 'published'
               AND m.next_retry_at <=> NULL
               AND m.biz_type = stream.biz_type
               AND m.topic = stream.topic
               AND m.retry_count = stream.retry_count
             ORDER BY m.status, m.next_retry_at, m.biz_type, m.topic, m.retry_count, m.id
             LIMIT v_limit
          ) AS head
         -- A published_at in the future is from before the clock was set back: recover it, its age is unknown.
         WHERE head.published_at NOT BETWEEN v_before AND v_too_late
            OR NOT COALESCE(stream.biz_type MEMBER OF (v_handled_types), FALSE)
         UNION ALL
        SELECT id
          FROM agent_outbox_messages FORCE INDEX (idx_outbox_status_next)
         WHERE status = 'published'
           AND next_retry_at IS NOT NULL
           AND (COALESCE(published_at, updated_at) NOT BETWEEN v_before AND v_too_late
             OR NOT COALESCE(biz_type MEMBER OF (v_handled_types), FALSE))
         ORDER BY id
         LIMIT v_limit
      ) AS stale;
    COMMIT AND NO CHAIN NO RELEASE;
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
        CALL outbox_internal_lock_available_v1(v_batch, 'published');
        UPDATE JSON_TABLE(COALESCE(v_batch, '[]'), '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$')) AS publish_only
          STRAIGHT_JOIN agent_outbox_messages AS m FORCE INDEX (PRIMARY) ON m.id = publish_only.id
           SET m.status = 'consumed',
               m.next_retry_at = NULL,
               m.last_error = NULL,
               m.consumed_at = v_now,
               m.updated_at = v_now
         WHERE NOT COALESCE(m.biz_type MEMBER OF (v_handled_types), FALSE);
        SET v_ended = ROW_COUNT();
        UPDATE JSON_TABLE(COALESCE(v_batch, '[]'), '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$')) AS stale
          STRAIGHT_JOIN agent_outbox_messages AS m FORCE INDEX (PRIMARY) ON m.id = stale.id
           SET m.status = 'pending',
               m.next_retry_at = v_now,
               m.last_error = CONCAT('published at ', COALESCE(m.published_at, m.updated_at), ', not consumed within ', p_older_than_seconds, ' s: sent again'),
               m.updated_at = v_now
         -- Between the two reads it may have failed and been published again.
         WHERE m.status = 'published'
           AND COALESCE(m.published_at, m.updated_at) NOT BETWEEN v_before AND v_too_late;
        SET v_changed = ROW_COUNT();
        SET v_new_audit_id = v_audit_id;
        IF v_changed + v_ended > 0 THEN
          CALL outbox_internal_audit_v1('recover_published', JSON_OBJECT(
            'older_than_seconds', p_older_than_seconds, 'limit', p_limit, 'messages', p_recovered + v_changed + v_consumed + v_ended,
            'consumed', NULLIF(v_consumed + v_ended, 0),
            'first_id', JSON_EXTRACT(v_ids, '$[0]'), 'last_id', JSON_EXTRACT(v_batch, '$[last]')), v_new_audit_id);
        END IF;
        COMMIT AND NO CHAIN NO RELEASE;
        SET v_audit_id = v_new_audit_id;
        SET p_recovered = p_recovered + v_changed;
        SET v_consumed = v_consumed + v_ended;
        SET v_at = v_at + v_messages;
      END;
    END WHILE;
  END;
  CALL outbox_internal_spare_images_v1(v_row_image);
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (831, 'V0831__recover_published_v1.sql');
