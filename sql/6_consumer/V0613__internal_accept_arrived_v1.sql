SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_accept_arrived_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_accept_arrived_v1 ()
COMMENT '
Marks the publish-only messages of the batch consumed, those whose business type has no handler: a record that has come
from Kafka is as good as the acknowledgement that the relay is about to mark, and later messages of the lane need not
wait for that mark. Also ends those that were published while the type still had a handler.
Internal: outbox_consume_v1 calls it where there are duplicates: it locks what it reads of them again.

Reads outbox_batch, where the outcome of such a message is duplicate. Transaction: the caller''s.

Example
  mysql> CALL outbox_internal_accept_arrived_v1();
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_now DATETIME(6) DEFAULT UTC_TIMESTAMP(6);
  UPDATE /*+ SET_VAR(sql_safe_updates = 0) */ outbox_batch AS b
    STRAIGHT_JOIN agent_outbox_messages AS m FORCE INDEX (PRIMARY) ON m.id = b.id
     SET m.status = 'consumed',
         m.next_retry_at = NULL,
         m.last_error = NULL,
         m.kafka_partition = COALESCE(b.kafka_partition, m.kafka_partition),
         m.kafka_offset = COALESCE(b.kafka_offset, m.kafka_offset),
         m.published_at = COALESCE(m.published_at, v_now),
         m.consumed_at = v_now,
         m.updated_at = v_now
   WHERE b.outcome = 'duplicate'
     AND m.status IN ('pending', 'published');
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (613, 'V0613__internal_accept_arrived_v1.sql');
