SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_read_options_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_read_options_v1 (
  IN p_prefix VARCHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_options LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  OUT p_max_retry INT,
  OUT p_headers JSON,
  OUT p_delay_seconds INT,
  OUT p_deliver_at DATETIME(6),
  OUT p_dedup_key VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin
)
COMMENT '
Reads the options of a message, and refuses what it does not know: a misspelt option would be lost without a word.
Internal: outbox_internal_enqueue_v1 calls it.

Parameters
  p_prefix VARCHAR(32): what stands before the names in an error: p_, or such as p_messages[3].
  p_options LONGTEXT: a JSON object, as in outbox_enqueue_with_options_v1; NULL: none
  OUT p_max_retry INT: NULL: not given
  OUT p_headers JSON: NULL: none
  OUT p_delay_seconds INT: NULL: none
  OUT p_deliver_at DATETIME(6): in UTC; NULL: now
  OUT p_dedup_key VARCHAR(255): NULL: none

Errors
  30003 p_options is not a JSON object; 30005 delay_seconds is negative; 30012 an option is unknown, or has a value of the
  wrong kind

Transaction: the caller''s; reads no data.

Example
  mysql> CALL outbox_internal_read_options_v1(''p_'', ''{"max_retry": 3}'', @max_retry, @headers, @delay_seconds, @deliver_at,
      ->   @dedup_key);
'
SQL SECURITY DEFINER
READS SQL DATA
main: BEGIN
  DECLARE v_known JSON DEFAULT JSON_ARRAY('max_retry', 'headers', 'delay_seconds', 'deliver_at', 'dedup_key');
  DECLARE v_at INT DEFAULT 0;
  DECLARE v_path VARCHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;
  DECLARE v_integer JSON DEFAULT JSON_ARRAY('INTEGER', 'UNSIGNED INTEGER');
  DECLARE v_greatest INT DEFAULT 2147483647;
  DECLARE v_option VARCHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin DEFAULT IF(p_prefix = 'p_', 'option ', p_prefix);
  DECLARE v_options, v_max_retry, v_delay, v_time, v_key JSON;
  DECLARE v_unknown, v_text LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;
  -- No such day.
  DECLARE CONTINUE HANDLER FOR 1292 SET p_deliver_at = NULL;
  DECLARE EXIT HANDLER FOR 3157
    CALL outbox_internal_raise_v1(30003, CONCAT('p_options is nested deeper than 100 levels: ', LEFT(p_options, 60)));

  IF p_options IS NULL THEN
    LEAVE main;
  END IF;
  SET v_options = IF(JSON_VALID(p_options), p_options, NULL);
  IF NOT COALESCE(JSON_TYPE(v_options) COLLATE utf8mb4_0900_bin = 'OBJECT', FALSE) THEN
    CALL outbox_internal_raise_v1(30003, CONCAT('p_options is not a JSON object: ', LEFT(p_options, 80)));
  END IF;
  SELECT MIN(given.name)
    INTO v_unknown
    FROM JSON_TABLE(JSON_KEYS(v_options), '$[*]' COLUMNS (name LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin PATH '$')) AS given
   WHERE NOT given.name MEMBER OF (v_known);
  IF v_unknown IS NOT NULL THEN
    CALL outbox_internal_raise_v1(30012, CONCAT(IF(p_prefix = 'p_', '', REPLACE(p_prefix, '.', ': ')), 'there is no option "', LEFT(v_unknown, 24), '", but max_retry, headers, delay_seconds, deliver_at, dedup_key'));
  END IF;
  -- A null is as if it were missing.
  WHILE v_at < JSON_LENGTH(v_known) DO
    SET v_path = CONCAT('$.', JSON_UNQUOTE(JSON_EXTRACT(v_known, CONCAT('$[', v_at, ']'))) COLLATE utf8mb4_0900_bin), v_at = v_at + 1;
    IF JSON_TYPE(JSON_EXTRACT(v_options, v_path)) COLLATE utf8mb4_0900_bin = 'NULL' THEN
      SET v_options = JSON_REMOVE(v_options, v_path);
    END IF;
  END WHILE;

  SET v_max_retry = JSON_EXTRACT(v_options, '$.max_retry');
  IF v_max_retry IS NOT NULL THEN
    IF NOT JSON_TYPE(v_max_retry) MEMBER OF (v_integer) OR ABS(CAST(v_max_retry AS SIGNED)) > v_greatest THEN
      CALL outbox_internal_raise_v1(30012, CONCAT(v_option, 'max_retry must be an integer of 32 bits, it is ', LEFT(CAST(v_max_retry AS CHAR) COLLATE utf8mb4_0900_bin, 60)));
    END IF;
    SET p_max_retry = v_max_retry;
  END IF;

  SET p_headers = JSON_EXTRACT(v_options, '$.headers');
  IF p_headers IS NOT NULL AND NOT JSON_SCHEMA_VALID('{"type":"object","additionalProperties":{"type":"string"}}', p_headers) THEN
    CALL outbox_internal_raise_v1(30012, CONCAT(v_option, 'headers must be an object of strings, it is ', LEFT(CAST(p_headers AS CHAR) COLLATE utf8mb4_0900_bin, 60)));
  END IF;

  SET v_delay = JSON_EXTRACT(v_options, '$.delay_seconds');
  IF v_delay IS NOT NULL THEN
    IF NOT JSON_TYPE(v_delay) MEMBER OF (v_integer) OR CAST(v_delay AS SIGNED) > v_greatest THEN
      CALL outbox_internal_raise_v1(30012, CONCAT(v_option, 'delay_seconds must be an integer of 32 bits, it is ', LEFT(CAST(v_delay AS CHAR) COLLATE utf8mb4_0900_bin, 60)));
    ELSEIF CAST(v_delay AS SIGNED) < 0 THEN
      CALL outbox_internal_raise_v1(30005, CONCAT(v_option, 'delay_seconds must not be negative: ', CAST(v_delay AS SIGNED)));
    END IF;
    SET p_delay_seconds = v_delay;
  END IF;

  SET v_time = JSON_EXTRACT(v_options, '$.deliver_at');
  IF v_time IS NOT NULL THEN
    IF v_delay IS NOT NULL THEN
      CALL outbox_internal_raise_v1(30012, CONCAT(v_option, 'delay_seconds and deliver_at exclude each other'));
    END IF;
    -- With an offset the server would turn it into the session's time zone.
    SET v_text = JSON_UNQUOTE(v_time);
    IF JSON_TYPE(v_time) COLLATE utf8mb4_0900_bin = 'STRING' AND REGEXP_LIKE(v_text, '^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,6})?Z?$', 'c') THEN
      SELECT CAST(REPLACE(TRIM(TRAILING 'Z' FROM v_text), 'T', ' ') AS DATETIME(6)) INTO p_deliver_at;
    END IF;
    IF p_deliver_at IS NULL THEN
      CALL outbox_internal_raise_v1(30012, CONCAT(v_option, 'deliver_at must be a time in UTC like "2026-11-27 14:00:00", it is ', LEFT(CAST(v_time AS CHAR) COLLATE utf8mb4_0900_bin, 50)));
    END IF;
  END IF;

  SET v_key = JSON_EXTRACT(v_options, '$.dedup_key');
  IF v_key IS NOT NULL THEN
    SET v_text = JSON_UNQUOTE(v_key);
    IF JSON_TYPE(v_key) COLLATE utf8mb4_0900_bin <> 'STRING' OR CHAR_LENGTH(v_text) NOT BETWEEN 1 AND 255 THEN
      CALL outbox_internal_raise_v1(30012, CONCAT(v_option, 'dedup_key must be a string of 1 to 255 characters, it is ', LEFT(CAST(v_key AS CHAR) COLLATE utf8mb4_0900_bin, 40)));
    END IF;
    SET p_dedup_key = v_text;
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (304, 'V0304__internal_read_options_v1.sql');
