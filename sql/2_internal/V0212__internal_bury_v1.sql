SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_bury_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_bury_v1 (
  IN p_id BIGINT UNSIGNED,
  IN p_reason TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin
)
COMMENT '
Makes a message dead that is larger by itself than the transactions that the server takes, so that nothing behind it
stops. Where even that is too large a change (it writes the payload twice, where outbox_internal_spare_images_v1 can do
nothing) the message is copied as a dead letter, under an id of its own, and then deleted: each of these writes the
payload once, as its enqueuing did. Where the limit has been lowered below that, too, it stays as it is: no statement can
change it.
Internal: outbox_internal_mark_batch_v1 and outbox_consume_v1 call it.

Parameters
  p_id BIGINT UNSIGNED: a message that is pending or published; any other stays as it is
  p_reason TEXT: becomes last_error

Owns its transactions (READ COMMITTED); a crash between two of them leaves a dead letter more.

Example
  mysql> CALL outbox_internal_bury_v1(1, ''Error on observer while running replication hook before_commit.'');
  mysql> SELECT status, last_error FROM agent_outbox_messages WHERE id = 1;
  +--------+-----------------------------------------------------------------------------------------------------------+
  | status | last_error                                                                                                |
  +--------+-----------------------------------------------------------------------------------------------------------+
  | dead   | larger than a transaction of this server: Error on observer while running replication hook before_commit. |
  +--------+-----------------------------------------------------------------------------------------------------------+
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_now DATETIME(6) DEFAULT UTC_TIMESTAMP(6);
  DECLARE v_reason TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin DEFAULT CONCAT('larger than a transaction of this server: ', LEFT(p_reason, 1900));
  DECLARE v_row_image, v_verdict VARCHAR(8) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;
  DECLARE v_most, v_copy_id BIGINT UNSIGNED;
  DECLARE v_stage VARCHAR(8) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;
  DECLARE v_errno, v_skipped INT DEFAULT 0;

  CALL outbox_internal_spare_images_v1(v_row_image);
  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION
    BEGIN
      ROLLBACK AND NO CHAIN NO RELEASE;
      CALL outbox_internal_spare_images_v1(v_row_image);
      RESIGNAL;
    END;
    BEGIN
      DECLARE EXIT HANDLER FOR SQLEXCEPTION
      BEGIN
        GET STACKED DIAGNOSTICS CONDITION 1 v_errno = MYSQL_ERRNO;
        CALL outbox_internal_shrink_v1(v_errno, 1, 1, v_most, v_skipped, v_verdict);
        IF v_verdict = 'raise' THEN
          RESIGNAL;
        END IF;
      END;
      SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
      START TRANSACTION;
      CALL outbox_mark_dead_v1(p_id, v_reason);
      COMMIT AND NO CHAIN NO RELEASE;
    END;
    IF v_verdict = 'alone' THEN
      BEGIN
        DECLARE EXIT HANDLER FOR SQLEXCEPTION
        BEGIN
          GET STACKED DIAGNOSTICS CONDITION 1 v_errno = MYSQL_ERRNO;
          CALL outbox_internal_shrink_v1(v_errno, 1, 1, v_most, v_skipped, v_verdict);
          IF v_verdict = 'raise' THEN
            RESIGNAL;
          END IF;
        END;
        START TRANSACTION;
        SELECT IF(MAX(status) = 'published', 'consumer', 'relay') INTO v_stage FROM agent_outbox_messages WHERE id = p_id;
        INSERT INTO agent_outbox_messages
          (biz_type, topic, message_key, payload, body, content_type, headers, origin, dedup_key, status, retry_count, max_retry, next_retry_at, last_error,
           kafka_partition, kafka_offset, published_at, created_at, updated_at)
        SELECT biz_type, topic, message_key, payload, body, content_type, headers, origin, dedup_key, 'dead', retry_count, max_retry, NULL,
               LEFT(CONCAT('copy of message ', id, ', ', v_reason), 2000), kafka_partition, kafka_offset, published_at, created_at, v_now
          FROM agent_outbox_messages FORCE INDEX (PRIMARY)
         WHERE id = p_id
           AND status IN ('pending', 'published');
        SET v_copy_id = IF(ROW_COUNT() > 0, LAST_INSERT_ID(), NULL);
        IF v_copy_id IS NOT NULL THEN
          CALL outbox_internal_note_failure_v1(v_copy_id, v_now, v_stage, NULL, v_reason);
        END IF;
        COMMIT AND NO CHAIN NO RELEASE;
        SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
        START TRANSACTION;
        DELETE FROM agent_outbox_messages WHERE id = p_id AND status IN ('pending', 'published');
        CALL outbox_internal_forget_failures_v1(JSON_ARRAY(p_id));
        COMMIT AND NO CHAIN NO RELEASE;
      END;
    END IF;
  END;
  CALL outbox_internal_spare_images_v1(v_row_image);
  SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (212, 'V0212__internal_bury_v1.sql');
