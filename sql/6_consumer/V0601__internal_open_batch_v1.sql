SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_open_batch_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_open_batch_v1 (
  IN p_messages LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin
)
COMMENT '
Begins a batch of outbox_consume_v1: starts its transaction, locks its messages and puts them into the session''s
temporary table outbox_batch, where outcome todo means still to do.
Internal.

Parameters
  p_messages LONGTEXT: JSON array of {"id", "payload"}, by ascending id

Transaction: starts one and leaves it open. The isolation level is the caller''s next.

Example
  mysql> CALL outbox_internal_open_batch_v1(''[{"id":1,"payload":"{}"}]'');
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DROP TEMPORARY TABLE IF EXISTS outbox_batch;
  CREATE TEMPORARY TABLE outbox_batch (
    id          BIGINT UNSIGNED NOT NULL PRIMARY KEY,
    payload     LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NULL,
    topic       VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NULL,
    message_key VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NULL,
    lane        INT UNSIGNED NULL COMMENT 'NULL where the business type has no order',
    handler     VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NULL,
    outcome     ENUM('todo', 'consumed', 'duplicate', 'unknown', 'dead', 'failed', 'deferred', 'not reached')
                CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL DEFAULT 'todo' COMMENT 'of a fixed size: it changes in place',
    error       VARCHAR(2000) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NULL
  ) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

  START TRANSACTION;
  -- By primary key: with the statistics of a table that was just empty the server scans all of it, and locks it.
  INSERT INTO outbox_batch (id, payload, topic, message_key, lane, handler, outcome)
  SELECT given.id, JSON_UNQUOTE(given.payload), m.topic, m.message_key,
         IF(t.ordering = 'none', NULL, m.open_lane),
         t.handler,
         CASE COALESCE(m.status, '') WHEN 'pending' THEN 'todo' WHEN 'published' THEN 'todo'
           WHEN 'consumed' THEN 'duplicate' WHEN 'dead' THEN 'dead' ELSE 'unknown' END
    FROM JSON_TABLE(p_messages, '$[*]' COLUMNS (
           id BIGINT UNSIGNED PATH '$.id' ERROR ON EMPTY ERROR ON ERROR,
           payload JSON PATH '$.payload')) AS given
    LEFT JOIN agent_outbox_messages AS m FORCE INDEX (PRIMARY) ON m.id = given.id
    LEFT JOIN outbox_biz_types AS t ON t.biz_type = m.biz_type
     FOR UPDATE OF m
  ON DUPLICATE KEY UPDATE outbox_batch.payload = outbox_batch.payload;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (601, 'V0601__internal_open_batch_v1.sql');
