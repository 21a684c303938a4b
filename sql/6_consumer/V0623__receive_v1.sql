SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_receive_v1;

DELIMITER $$

CREATE PROCEDURE outbox_receive_v1 (
  IN p_records LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin
)
COMMENT '
Receives records that others have written: each for which there is a subscription (outbox_subscribe_v1) is stored as a
message of this outbox that is published already. outbox_consume_v1 then lets it take effect, exactly as a message
of this outbox''s own: with its retries, its order and its dead letters. A record that failed is sent again in a topic
of this outbox alone, ORIGIN.outboxd.DATABASE.

Parameters
  p_records LONGTEXT: JSON array, in the order in which the records were read, of
    {"source": ce_source, or kafka:TOPIC for a record that has none, "id": ce_id, or PARTITION:OFFSET, "type": ce_type or
    null, "time": ce_time as it is or null, "topic", "partition", "offset": where the record is, "key": its key or null,
    "payload": its value, a text, or null for a tombstone, "headers": its own headers, an object of texts, or null,
    "content_type": or null, "bytes": its value in base64, where it is no UTF-8, "error": what else is wrong with the
    record, or null}

A business type that takes bytes (outbox_register_bytes_v1) gets every value as a JSON string in base64. For all others a value
that is no JSON is a dead letter, which keeps the value as a JSON string. A tombstone is the payload null.

Result set, by position: position, which counts from 1; outcome; error; id, created_at, topic, message_key, biz_type: of
the message, for outbox_consume_v1. The outcomes:
  received   stored, now or before, and still to be consumed: give it to outbox_consume_v1
  duplicate  received before, and no longer published: there is nothing to do
  dead       stored as a dead letter; error says why
  ignored    there is no subscription for it, or it is in a topic for sending again

A record is the same as one before where source, id and time are the same. That is remembered for as long as its dedup
key is kept (outbox_purge_dedup_keys_v1).

Errors
  30003 p_records is not JSON; 30006 called inside a transaction
  1205, 1213: everything is rolled back; call again

Called by: consumers. Owns its transaction (READ COMMITTED). Locks: the rows of the dedup keys, in the order of the keys.

Example
  mysql> CALL outbox_receive_v1(''[{"source": "/outboxd/shop/7b6a5f0c", "id": "1", "type": "order_placed", "topic": "orders",
      ->   "partition": 0, "offset": 17, "key": "Ada", "payload": "{\\"order\\": 1}"}]'');
  +----------+----------+-------+----+----------------------------+-------------------------+-------------+------------+
  | position | outcome  | error | id | created_at                 | topic                   | message_key | biz_type   |
  +----------+----------+-------+----+----------------------------+-------------------------+-------------+------------+
  |        1 | received | NULL  |  7 | 2026-01-01 12:00:00.123456 | orders.outboxd.shipping | Ada         | ship_order |
  +----------+----------+-------+----+----------------------------+-------------------------+-------------+------------+
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_suffix VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin
    DEFAULT CONCAT('.outboxd.', REGEXP_REPLACE(DATABASE(), '[^a-zA-Z0-9._-]', '_', 1, 0, 'c'));
  DECLARE v_again JSON;
  DECLARE v_is_stored BOOLEAN;

  IF NOT COALESCE(JSON_VALID(p_records), FALSE) THEN
    CALL outbox_internal_raise_v1(30003, CONCAT('p_records is not valid JSON: ', COALESCE(LEFT(p_records, 80), 'NULL')));
  END IF;
  CALL outbox_internal_require_no_transaction_v1('outbox_receive_v1');
  attempt: LOOP
    BEGIN
      DECLARE EXIT HANDLER FOR SQLEXCEPTION
      BEGIN
        ROLLBACK AND NO CHAIN NO RELEASE;
        RESIGNAL;
      END;
      DROP TEMPORARY TABLE IF EXISTS outbox_received;
      CREATE TEMPORARY TABLE outbox_received (
        position    INT NOT NULL PRIMARY KEY,
        biz_type    VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NULL COMMENT 'NULL: there is no subscription for it',
        source      VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NULL COMMENT 'of the subscription',
        event_type  VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NULL COMMENT 'of the subscription',
        topic       VARCHAR(249) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
        message_key VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
        payload     LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
        is_text     BOOLEAN NOT NULL COMMENT 'payload becomes a JSON string; otherwise it is JSON',
        headers     JSON NULL,
        origin      JSON NULL,
        dedup_key   VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NULL,
        outcome     ENUM('new', 'duplicate', 'ignored') CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
        error       VARCHAR(2000) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NULL,
        KEY dedup_key (dedup_key)
      ) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

      START TRANSACTION;
      -- Where several subscriptions match, the one that names the source decides, or else the longest.
      INSERT INTO outbox_received (position, biz_type, source, event_type, topic, message_key, payload, is_text, headers, origin, dedup_key, outcome, error)
      SELECT given.position, s.biz_type, s.source, s.event_type, CONCAT(LEFT(given.topic, 249 - CHAR_LENGTH(v_suffix)), v_suffix),
             LEFT(COALESCE(NULLIF(given.message_key, ''), CONCAT(given.kafka_partition, ':', given.kafka_offset)), 255),
             COALESCE(given.bytes, IF(t.takes_bytes, REPLACE(TO_BASE64(given.payload), CHAR(10 USING utf8mb4), ''), given.payload), 'null'),
             given.bytes IS NOT NULL OR (COALESCE(t.takes_bytes, FALSE) AND given.payload IS NOT NULL),
             given.headers,
             JSON_OBJECT('source', given.source, 'id', given.event_id, 'type', given.event_type, 'time', given.event_time, 'topic', given.topic,
               'partition', given.kafka_partition, 'offset', given.kafka_offset, 'content_type', given.content_type),
             CONCAT('inbox ', SHA2(CONCAT(LENGTH(given.source), ' ', given.source, LENGTH(given.event_id), ' ', given.event_id,
               COALESCE(given.event_time, '')), 256)),
             IF(s.biz_type IS NULL, 'ignored', 'new'),
             CASE
               WHEN s.biz_type IS NULL THEN NULL
               WHEN given.error IS NOT NULL THEN given.error
               WHEN CHAR_LENGTH(given.message_key) > 255 THEN 'its key has more than 255 characters'
               WHEN t.handler IS NULL THEN CONCAT('business type ', s.biz_type, ' has no handler')
               WHEN given.bytes IS NOT NULL AND NOT COALESCE(t.takes_bytes, FALSE) THEN 'its value is not UTF-8'
             END
        FROM JSON_TABLE(p_records, '$[*]' COLUMNS (
               position FOR ORDINALITY,
               source TEXT PATH '$.source',
               event_id TEXT PATH '$.id',
               event_type TEXT PATH '$.type',
               event_time TEXT PATH '$.time',
               topic VARCHAR(255) PATH '$.topic',
               kafka_partition INT PATH '$.partition',
               kafka_offset BIGINT PATH '$.offset',
               message_key TEXT PATH '$.key',
               payload LONGTEXT PATH '$.payload',
               bytes LONGTEXT PATH '$.bytes',
               content_type TEXT PATH '$.content_type',
               headers JSON PATH '$.headers',
               error VARCHAR(2000) PATH '$.error')) AS given
        LEFT JOIN LATERAL (
          SELECT one.biz_type, one.source, one.event_type
            FROM outbox_subscriptions AS one
           WHERE given.source LIKE REPLACE(REPLACE(one.source, '|', '||'), '_', '|_') ESCAPE '|'
             AND COALESCE(given.event_type, '') LIKE REPLACE(REPLACE(one.event_type, '|', '||'), '_', '|_') ESCAPE '|'
             AND INSTR(given.topic, '.outboxd.') = 0
           ORDER BY one.source = given.source DESC, CHAR_LENGTH(one.source) DESC, one.event_type = given.event_type DESC,
                    CHAR_LENGTH(one.event_type) DESC, one.source, one.event_type
           LIMIT 1
        ) AS s ON TRUE
        LEFT JOIN outbox_biz_types AS t ON t.biz_type = s.biz_type;

      SET v_is_stored = TRUE;
      SELECT JSON_ARRAYAGG(again.position)
        INTO v_again
        FROM (
          SELECT r.position, k.message_id > 0 OR ROW_NUMBER() OVER (PARTITION BY r.dedup_key ORDER BY r.position) > 1 AS is_known
            FROM outbox_received AS r
            LEFT JOIN outbox_dedup_keys AS k FORCE INDEX (PRIMARY) ON k.dedup_key = r.dedup_key
           WHERE r.outcome = 'new'
        ) AS again
       WHERE again.is_known;
      IF v_again IS NOT NULL THEN
        UPDATE /*+ SET_VAR(sql_safe_updates = 0) */ JSON_TABLE(v_again, '$[*]' COLUMNS (position INT PATH '$')) AS again
          STRAIGHT_JOIN outbox_received AS r ON r.position = again.position
           SET r.outcome = 'duplicate';
      END IF;
      CALL outbox_internal_note_received_v1();
      IF EXISTS (SELECT 1 FROM outbox_received WHERE outcome = 'new') THEN
        INSERT INTO outbox_retry_topics (topic, origin_topic)
        SELECT r.topic, MIN(r.origin->>'$.topic')
          FROM outbox_received AS r
         WHERE r.outcome = 'new'
           AND NOT EXISTS (SELECT 1 FROM outbox_retry_topics AS known WHERE known.topic = r.topic)
         GROUP BY r.topic
         ORDER BY r.topic
        ON DUPLICATE KEY UPDATE outbox_retry_topics.origin_topic = outbox_retry_topics.origin_topic;
        CALL outbox_internal_check_received_v1();
        CALL outbox_internal_store_received_v1(v_is_stored);
      END IF;
      IF v_is_stored THEN
        COMMIT AND NO CHAIN NO RELEASE;
        LEAVE attempt;
      END IF;
      -- Another session has stored one of the records meanwhile: the next attempt finds it.
      ROLLBACK AND NO CHAIN NO RELEASE;
      SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    END;
  END LOOP;
  SELECT r.position,
         CASE
           WHEN r.outcome = 'new' THEN IF(r.error IS NULL, 'received', 'dead')
           WHEN r.outcome = 'duplicate' AND m.status = 'published' THEN 'received'
           ELSE r.outcome
         END AS outcome,
         IF(r.outcome = 'new', m.last_error, NULL) AS error, m.id, m.created_at, m.topic, m.message_key, m.biz_type
    FROM outbox_received AS r
    LEFT JOIN outbox_dedup_keys AS k FORCE INDEX (PRIMARY) ON k.dedup_key = IF(r.outcome = 'ignored', NULL, r.dedup_key)
    LEFT JOIN agent_outbox_messages AS m FORCE INDEX (PRIMARY) ON m.id = k.message_id
   ORDER BY r.position;
  COMMIT AND NO CHAIN NO RELEASE;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (623, 'V0623__receive_v1.sql');
