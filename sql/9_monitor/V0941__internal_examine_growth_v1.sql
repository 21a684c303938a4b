SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_examine_growth_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_examine_growth_v1 (
  INOUT p_findings JSON
)
COMMENT '
Examines whether the table is purged, and how it grows: messages are counted by their ids, bytes as information_schema has
them, which may be a day old.
Internal: outbox_doctor_v1 calls it.

Parameters
  INOUT p_findings JSON: what was found so far, see outbox_internal_tell_v1; comes back with more

Reads only; transaction: the caller''s.

Example
  mysql> SET @findings = JSON_ARRAY();
  mysql> CALL outbox_internal_examine_growth_v1(@findings);
'
SQL SECURITY DEFINER
READS SQL DATA
BEGIN
  DECLARE v_kept_days INT DEFAULT 8;
  DECLARE v_now DATETIME(6) DEFAULT UTC_TIMESTAMP(6);
  DECLARE v_purged_at, v_oldest_at DATETIME(6);
  DECLARE v_first, v_last BIGINT UNSIGNED;
  DECLARE v_oldest_status VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;
  DECLARE v_bytes, v_rows BIGINT UNSIGNED;
  DECLARE v_days, v_bytes_a_day DOUBLE;
  DECLARE v_state TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;

  SELECT /*+ SET_VAR(sql_big_selects = 1) */ MAX(last.at) INTO v_purged_at
    FROM (SELECT at FROM outbox_audit WHERE action IN ('purge', 'retention') ORDER BY id DESC LIMIT 1) AS last;
  SELECT MIN(id), MAX(id) INTO v_first, v_last FROM agent_outbox_messages;
  SELECT /*+ SET_VAR(sql_big_selects = 1) */ MAX(created_at), MAX(status) INTO v_oldest_at, v_oldest_status
    FROM (
      SELECT created_at, status
        FROM agent_outbox_messages FORCE INDEX (PRIMARY)
       WHERE id >= v_first
         AND status = 'consumed'
       ORDER BY id
       LIMIT 1
    ) AS oldest;
  SELECT /*+ SET_VAR(optimizer_search_depth = 62) SET_VAR(sql_big_selects = 1) */ data_length + index_length, table_rows
    INTO v_bytes, v_rows
    FROM information_schema.tables
   WHERE table_schema = DATABASE()
     AND table_name = 'agent_outbox_messages';
  SET v_days = GREATEST(TIMESTAMPDIFF(SECOND, v_oldest_at, v_now), 60) / 86400;
  SET v_bytes_a_day = v_bytes / NULLIF(v_rows, 0) * (v_last - v_first + 1) / v_days;
  SET v_state = CONCAT('agent_outbox_messages has ', v_bytes DIV 1000000, ' MB',
    IF(v_days >= 1, CONCAT(', and grows by ', COALESCE(v_bytes_a_day, 0) DIV 1000000, ' MB a day'), ''),
    ', the last purge: ', COALESCE(CONCAT(TIMESTAMPDIFF(HOUR, v_purged_at, v_now), ' hours ago'), 'never'));
  IF v_days > v_kept_days AND COALESCE(v_purged_at < v_now - INTERVAL 1 DAY, TRUE) THEN
    CALL outbox_internal_tell_v1(p_findings, 'warning', 'growth',
      CONCAT(v_state, '; it has consumed messages of ', FLOOR(v_days), ' days ago'),
      'ALTER EVENT outbox_retention ENABLE, or run `outboxd purge --older-than 7d` every day');
  ELSE
    CALL outbox_internal_tell_v1(p_findings, 'ok', 'growth', v_state, NULL);
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (941, 'V0941__internal_examine_growth_v1.sql');
