SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_mark_topics_unavailable_v1;

DELIMITER $$

CREATE PROCEDURE outbox_mark_topics_unavailable_v1 (
  IN p_topics LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin
)
COMMENT '
Takes topics out of the relays'' queues that Kafka takes no records for, so that they do not hold up the others: no retry is
counted, and no message changes its status. After 1, 2, 4 and so on to 32 seconds a claim returns one message of the topic, to
try it again; the mark published of such a message ends the trouble, and the others come back.

Parameters
  p_topics LONGTEXT: JSON array of {"topic", "reason"}; reason, the client''s error, is kept to be shown

Errors
  30003 p_topics is not JSON

Called by: relays. Transaction: the caller''s; one INSERT, atomic under autocommit.

Example
  mysql> CALL outbox_mark_topics_unavailable_v1(''[{"topic":"orders","reason":"Broker: Leader not available"}]'');
  mysql> SELECT topic, failures, reason FROM outbox_topics_unavailable;
  +--------+----------+------------------------------+
  | topic  | failures | reason                       |
  +--------+----------+------------------------------+
  | orders |        1 | Broker: Leader not available |
  +--------+----------+------------------------------+
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_now DATETIME(6) DEFAULT UTC_TIMESTAMP(6);

  IF NOT COALESCE(JSON_VALID(p_topics), FALSE) THEN
    CALL outbox_internal_raise_v1(30003, CONCAT('p_topics is not valid JSON: ', COALESCE(LEFT(p_topics, 80), 'NULL')));
  END IF;
  -- Assignments run from left to right: retry_at sees the new number of failures. The rule is that of the messages'
  -- backoff (outbox_retry_backoff_v1).
  INSERT INTO outbox_pauses (kind, name, failures, reason, retry_at)
  SELECT 'trouble', given.topic, 1, MAX(LEFT(given.reason, 2000)), v_now + INTERVAL 1 SECOND
    FROM JSON_TABLE(p_topics, '$[*]' COLUMNS (topic VARCHAR(249) PATH '$.topic', reason TEXT PATH '$.reason')) AS given
   WHERE given.topic IS NOT NULL
   GROUP BY given.topic
  ON DUPLICATE KEY UPDATE
    failures = IF(outbox_pauses.resumed_at IS NULL, outbox_pauses.failures + 1, 1),
    paused_at = IF(outbox_pauses.resumed_at IS NULL, outbox_pauses.paused_at, v_now),
    resumed_at = NULL,
    reason = VALUES(reason),
    retry_at = v_now + INTERVAL (1 << LEAST(outbox_pauses.failures - 1, 5)) SECOND,
    probe_id = NULL;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (525, 'V0525__mark_topics_unavailable_v1.sql');
