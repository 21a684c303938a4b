SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_mark_published_v1;

DELIMITER $$

CREATE PROCEDURE outbox_mark_published_v1 (
  IN p_id BIGINT UNSIGNED
)
COMMENT '
pending to published: Kafka has acknowledged the record. Where the business type has no handler, registered or not, that
is all there is to do: pending to consumed. A message in any other state stays as it is.
A relay that owns slots uses outbox_mark_published_batch_v1, which is fenced.

Parameters
  p_id BIGINT UNSIGNED: the message

Errors
  30004 there is no such message

Called by: relays of the legacy Go service. Transaction: the caller''s; one UPDATE, atomic under autocommit.

Example
  mysql> CALL outbox_mark_published_v1(1);
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_now DATETIME(6) DEFAULT UTC_TIMESTAMP(6);
  DECLARE v_has_waited BOOLEAN DEFAULT (SELECT is_waiting FROM agent_outbox_messages WHERE id = p_id);
  DECLARE v_changed INT;

  UPDATE agent_outbox_messages
     -- In a subquery: it reads what is committed now, whatever snapshot the caller has. Assignments run from left to right.
     SET status = IF(EXISTS (SELECT 1 FROM outbox_biz_types AS t WHERE t.biz_type = agent_outbox_messages.biz_type AND t.handler IS NOT NULL),
           'published', 'consumed'),
         next_retry_at = NULL,
         last_error = NULL,
         published_at = v_now,
         consumed_at = IF(status = 'consumed', v_now, consumed_at),
         updated_at = v_now
   WHERE id = p_id
     AND status = 'pending';
  SET v_changed = ROW_COUNT();
  IF v_changed = 0 THEN
    CALL outbox_internal_require_message_v1(p_id);
  ELSEIF v_has_waited THEN
    CALL outbox_internal_wake_lanes_v1(JSON_ARRAY(p_id));
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (403, 'V0403__mark_published_v1.sql');
