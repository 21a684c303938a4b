SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_open_batch_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_open_batch_v1 (
  IN p_messages LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_failed JSON
)
COMMENT '
Opens a batch of outbox_consume_v1: starts its transaction, locks its messages, and puts them into the session''s
temporary table outbox_batch, where outcome todo means still to do.
Internal: outbox_consume_v1 calls it.

MySQL cannot open a temporary table twice in one statement. So what is computed from outbox_batch to change it
goes through a JSON array in between.

Parameters
  p_messages LONGTEXT: JSON array of {"id", "payload"}, by ascending id
  p_failed JSON: [[id, error], ...] of messages that have failed already, in an earlier attempt at this batch

Transaction: starts one and leaves it open. The isolation level is the caller''s next. Locks: the messages, in the order
in which they are given.

Example
  mysql> CALL outbox_internal_open_batch_v1(''[{"id":1,"payload":"{}"}]'', ''[]'');
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DROP TEMPORARY TABLE IF EXISTS outbox_batch;
  CREATE TEMPORARY TABLE outbox_batch (
    id            BIGINT UNSIGNED NOT NULL PRIMARY KEY,
    biz_type      VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NULL,
    topic         VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NULL,
    message_key   VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NULL,
    payload       LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NULL,
    handler       VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NULL,
    batch_handler VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NULL,
    lane          INT UNSIGNED NULL COMMENT 'the hash of topic and message_key; NULL where the business type has no order',
    outcome       ENUM('todo', 'offered', 'consumed', 'duplicate', 'unknown', 'dead', 'failed', 'deferred', 'not reached')
                  CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL DEFAULT 'todo' COMMENT 'of a fixed size: it changes in place',
    error         VARCHAR(2000) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NULL,
    turn          INT NULL COMMENT 'its place among those of its lane that are handled one by one, from 1; NULL: not one of them',
    last_id       BIGINT UNSIGNED NULL COMMENT 'the last one of these',
    KEY (turn)
  ) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

  START TRANSACTION;
  -- By primary key: with the statistics of a table that was just empty the server scans all of it, and locks it.
  INSERT INTO outbox_batch (id, biz_type, topic, message_key, payload, handler, batch_handler, lane, outcome)
  SELECT given.id, m.biz_type, m.topic, m.message_key, JSON_UNQUOTE(given.payload), t.handler, t.batch_handler,
         IF(t.ordering = 'none', NULL, m.open_lane),
         CASE COALESCE(m.status, '') WHEN 'pending' THEN IF(t.handler IS NULL, 'duplicate', 'todo')
           WHEN 'published' THEN IF(t.handler IS NULL, 'duplicate', 'todo')
           WHEN 'consumed' THEN 'duplicate' WHEN 'dead' THEN 'dead' ELSE 'unknown' END
    FROM JSON_TABLE(p_messages, '$[*]' COLUMNS (
           id BIGINT UNSIGNED PATH '$.id' ERROR ON EMPTY ERROR ON ERROR,
           payload JSON PATH '$.payload')) AS given
    LEFT JOIN agent_outbox_messages AS m FORCE INDEX (PRIMARY) ON m.id = given.id
    LEFT JOIN outbox_biz_types AS t ON t.biz_type = m.biz_type
     FOR UPDATE OF m
  ON DUPLICATE KEY UPDATE outbox_batch.payload = outbox_batch.payload;
  UPDATE /*+ SET_VAR(sql_safe_updates = 0) */ JSON_TABLE(p_failed, '$[*]' COLUMNS (
           id BIGINT UNSIGNED PATH '$[0]',
           error VARCHAR(128) PATH '$[1]')) AS failed
    STRAIGHT_JOIN outbox_batch AS b ON b.id = failed.id
     SET b.outcome = 'failed',
         b.error = failed.error
   WHERE b.outcome = 'todo';
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (601, 'V0601__internal_open_batch_v1.sql');
