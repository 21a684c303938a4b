SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_open_batch_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_open_batch_v1 (
  IN p_messages LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_failed JSON,
  IN p_most_bytes BIGINT UNSIGNED,
  OUT p_todo INT,
  OUT p_bytes BIGINT UNSIGNED,
  OUT p_first_id BIGINT UNSIGNED,
  OUT p_duplicates INT
)
COMMENT '
Opens a batch of outbox_consume_v1: starts its transaction, locks its messages, and puts them into the session''s
temporary table outbox_batch, where outcome todo means still to do. A record that does not agree with the row of its
message is foreign. A message that another session has locked is not reached, and nor are those behind it in its lane
(outbox_internal_pass_over_locked_v1). Where the payloads are more than one transaction should hold, the last messages are not reached.
Internal: outbox_consume_v1 calls it.

MySQL cannot open a temporary table twice in one statement. So what is computed from outbox_batch to change it
goes through a JSON array in between.

Parameters
  p_messages LONGTEXT: as of outbox_consume_v1
  p_failed JSON: [[id, error], ...] of messages that have failed already, in an earlier attempt at this batch
  p_most_bytes BIGINT UNSIGNED: bytes of payload in one transaction; a single message may have more. NULL: the bound of
    outbox_set_transaction_bytes_v1, or a quarter of max_binlog_cache_size where that is less: a mark writes a message''s
    row into the binary log twice, a handler may write as much again, and there is room for the rest of the rows
  OUT p_todo INT: how many messages are still to do
  OUT p_bytes BIGINT UNSIGNED: the bytes of their payloads
  OUT p_first_id BIGINT UNSIGNED: the first of them; NULL: there is none
  OUT p_duplicates INT: how many are duplicates

The session variable @outbox_batch_rows says how many rows the table of the last call has, which is there still.

Transaction: starts one and leaves it open. The isolation level is the caller''s next. Locks: the messages, in the order
in which they are given.

Example
  mysql> CALL outbox_internal_open_batch_v1(''[{"id":1,"created_at":"2026-01-01 12:00:00.123456"}]'', ''[]'', 33554432,
      ->   @todo, @bytes, @first_id, @duplicates);
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_few INT DEFAULT 50;
  DECLARE v_last_id BIGINT UNSIGNED;
  DECLARE v_most_bytes BIGINT UNSIGNED DEFAULT p_most_bytes;
  DECLARE v_unknown INT;
  DECLARE v_has_looked BOOLEAN DEFAULT FALSE;
  DECLARE v_has_waited BOOLEAN;
  DECLARE v_waiting JSON;

  -- To make a table costs more than to empty one of few rows, and most batches are small.
  IF @outbox_batch_rows <= v_few THEN
    START TRANSACTION;
    DELETE /*+ SET_VAR(sql_safe_updates = 0) */ FROM outbox_batch;
  ELSE
    SET @outbox_batch_rows = NULL;
    DROP TEMPORARY TABLE IF EXISTS outbox_batch;
    CREATE TEMPORARY TABLE outbox_batch (
      id            BIGINT UNSIGNED NOT NULL PRIMARY KEY,
      biz_type      VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NULL,
      topic         VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NULL,
      message_key   VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NULL,
      payload       LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NULL,
      kafka_partition INT NULL COMMENT 'where the record is, as the consumer says',
      kafka_offset  BIGINT NULL,
      batch_handler VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NULL,
      lane          INT UNSIGNED NULL COMMENT 'the hash of topic and message_key; NULL where the business type has no order',
      is_waiting    BOOLEAN NULL COMMENT 'of the message: it waits for its retry, and this is an earlier copy of its record',
      outcome       ENUM('todo', 'offered', 'consumed', 'duplicate', 'unknown', 'foreign', 'dead', 'failed', 'deferred', 'not reached')
                    CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL DEFAULT 'todo' COMMENT 'of a fixed size: it changes in place',
      error         VARCHAR(2000) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NULL
    ) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;
    START TRANSACTION;
  END IF;
  -- By primary key: with the statistics of a table that was just empty the server scans all of it, and locks it.
  INSERT INTO outbox_batch (id, biz_type, topic, message_key, payload, kafka_partition, kafka_offset, batch_handler, lane, is_waiting, outcome, error)
  SELECT given.id, m.biz_type, m.topic, m.message_key, m.payload, given.kafka_partition, given.kafka_offset, t.batch_handler,
         IF(t.ordering = 'none', NULL, m.open_lane), m.is_waiting,
         CASE
           WHEN m.id IS NULL THEN 'unknown'
           WHEN NOT m.created_at <=> given.created_at OR given.topic <> m.topic OR given.message_key <> m.message_key THEN 'foreign'
           WHEN m.status = 'consumed' THEN 'duplicate'
           WHEN m.status = 'dead' THEN 'dead'
           WHEN t.handler IS NULL THEN 'duplicate'
           ELSE 'todo'
         END,
         CASE
           WHEN m.id IS NULL THEN NULL
           WHEN NOT m.created_at <=> given.created_at THEN CONCAT('its ce_time is not that of message ', m.id, ', ', COALESCE(m.created_at, 'which has none'))
           WHEN given.topic <> m.topic THEN CONCAT('message ', m.id, ' is of topic ', m.topic)
           WHEN given.message_key <> m.message_key THEN CONCAT('message ', m.id, ' has another key')
         END
    FROM JSON_TABLE(p_messages, '$[*]' COLUMNS (
           id BIGINT UNSIGNED PATH '$.id' ERROR ON EMPTY ERROR ON ERROR,
           created_at DATETIME(6) PATH '$.created_at',
           topic VARCHAR(255) PATH '$.topic',
           message_key TEXT PATH '$.key',
           kafka_partition INT PATH '$.partition',
           kafka_offset BIGINT PATH '$.offset')) AS given
    LEFT JOIN agent_outbox_messages AS m FORCE INDEX (PRIMARY) ON m.id = given.id
    LEFT JOIN outbox_biz_types AS t ON t.biz_type = m.biz_type
     FOR UPDATE OF m SKIP LOCKED
  -- Of two records with one id, the own one counts.
  ON DUPLICATE KEY UPDATE
    outbox_batch.kafka_partition = IF(outbox_batch.outcome = 'foreign', VALUES(kafka_partition), outbox_batch.kafka_partition),
    outbox_batch.kafka_offset = IF(outbox_batch.outcome = 'foreign', VALUES(kafka_offset), outbox_batch.kafka_offset),
    outbox_batch.error = IF(outbox_batch.outcome = 'foreign', VALUES(error), outbox_batch.error),
    outbox_batch.outcome = IF(outbox_batch.outcome = 'foreign', VALUES(outcome), outbox_batch.outcome);
  SET @outbox_batch_rows = ROW_COUNT();
  IF JSON_LENGTH(p_failed) > 0 THEN
    UPDATE /*+ SET_VAR(sql_safe_updates = 0) */ JSON_TABLE(p_failed, '$[*]' COLUMNS (
             id BIGINT UNSIGNED PATH '$[0]',
             error VARCHAR(128) PATH '$[1]')) AS failed
      STRAIGHT_JOIN outbox_batch AS b ON b.id = failed.id
       SET b.outcome = 'failed',
           b.error = failed.error
     WHERE b.outcome = 'todo';
  END IF;
  IF v_most_bytes IS NULL THEN
    SELECT LEAST(MAX(transaction_bytes), @@GLOBAL.max_binlog_cache_size DIV 4) INTO v_most_bytes FROM outbox_installation;
  END IF;
  measure: LOOP
    SELECT COUNT(IF(outcome = 'todo', 1, NULL)), COALESCE(SUM(IF(outcome = 'todo', LENGTH(payload), 0)), 0),
           MIN(IF(outcome = 'todo', id, NULL)), COUNT(IF(outcome = 'duplicate', 1, NULL)),
           COUNT(IF(outcome = 'unknown', 1, NULL)), MAX(outcome = 'todo' AND is_waiting)
      INTO p_todo, p_bytes, p_first_id, p_duplicates, v_unknown, v_has_waited
      FROM outbox_batch;
    -- A message that another session has locked looks as if there were none.
    IF v_unknown > 0 AND NOT v_has_looked THEN
      CALL outbox_internal_pass_over_locked_v1();
      SET v_has_looked = TRUE;
      ITERATE measure;
    END IF;
    IF p_todo <= 1 OR p_bytes <= v_most_bytes THEN
      LEAVE measure;
    END IF;
    SELECT COALESCE(MAX(IF(bytes <= v_most_bytes, id, NULL)), MIN(id))
      INTO v_last_id
      FROM (
        SELECT id, SUM(LENGTH(payload)) OVER (ORDER BY id) AS bytes
          FROM outbox_batch
         WHERE outcome = 'todo'
      ) AS summed;
    UPDATE /*+ SET_VAR(sql_safe_updates = 0) */ outbox_batch SET outcome = 'not reached' WHERE outcome = 'todo' AND id > v_last_id;
  END LOOP;
  IF v_has_waited THEN
    SELECT JSON_ARRAYAGG(id) INTO v_waiting FROM outbox_batch WHERE outcome = 'todo' AND is_waiting;
    CALL outbox_internal_wake_lanes_v1(v_waiting);
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (601, 'V0601__internal_open_batch_v1.sql');
