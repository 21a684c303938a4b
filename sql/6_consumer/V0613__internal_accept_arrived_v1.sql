SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_accept_arrived_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_accept_arrived_v1 (
  IN p_outcome VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin
)
COMMENT '
Marks messages of the batch consumed, without their payloads in the binary log (outbox_internal_spare_images_v1). A
message whose record has come from Kafka before the relay''s mark is published by now.
Internal: outbox_internal_handle_in_bulk_v1 calls it for what a batch handler takes, and outbox_consume_v1 for publish-only
messages, those whose business type has no handler: the record is as good as the acknowledgement that the relay is about to
mark, and later messages of the lane need not wait for that mark. That also ends those that were published while the type
still had a handler. Called where there are any: it locks what it reads again.

Parameters
  p_outcome VARCHAR(16): which messages, by their outcome in outbox_batch: offered, or duplicate

Reads outbox_batch. Transaction: the caller''s.

Example
  mysql> CALL outbox_internal_accept_arrived_v1(''duplicate'');
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_now DATETIME(6) DEFAULT UTC_TIMESTAMP(6);
  DECLARE v_row_image VARCHAR(8) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;

  CALL outbox_internal_spare_images_v1(v_row_image);
  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION
    BEGIN
      CALL outbox_internal_spare_images_v1(v_row_image);
      RESIGNAL;
    END;
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
     WHERE b.outcome = p_outcome
       AND m.status IN ('pending', 'published');
  END;
  CALL outbox_internal_spare_images_v1(v_row_image);
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (613, 'V0613__internal_accept_arrived_v1.sql');
