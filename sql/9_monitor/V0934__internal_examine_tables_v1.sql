SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_examine_tables_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_examine_tables_v1 (
  INOUT p_findings JSON
)
COMMENT '
Examines what no procedure works without: the indexes of agent_outbox_messages, the 64 rows of outbox_slots, the identity.
Internal: outbox_doctor_v1 calls it.

Parameters
  INOUT p_findings JSON: what was found so far, see outbox_internal_tell_v1; comes back with more

Reads only; transaction: the caller''s.

Example
  mysql> SET @findings = JSON_ARRAY();
  mysql> CALL outbox_internal_examine_tables_v1(@findings);
'
SQL SECURITY DEFINER
READS SQL DATA
BEGIN
  DECLARE v_done BOOLEAN DEFAULT FALSE;
  DECLARE v_wrong BOOLEAN DEFAULT FALSE;
  DECLARE v_name, v_columns, v_values TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;
  DECLARE v_is_there BOOLEAN;
  DECLARE v_lost INT;
  DECLARE v_indexes JSON DEFAULT JSON_ARRAY(
    JSON_OBJECT('name', 'idx_outbox_status_next', 'columns', 'status, next_retry_at, biz_type, topic, retry_count', 'count', 5),
    JSON_OBJECT('name', 'outbox_pending_slot', 'columns', 'pending_slot, waits_for, wakes_at', 'count', 3),
    JSON_OBJECT('name', 'outbox_open_lane', 'columns', 'open_lane, is_waiting', 'count', 2));
  -- An index is right where each of its columns is at its place, and it has no other.
  DECLARE v_bad CURSOR FOR
    SELECT /*+ SET_VAR(optimizer_search_depth = 62) SET_VAR(sql_big_selects = 1) */ wanted.name, wanted.columns, COUNT(s.column_name) > 0
      FROM JSON_TABLE(v_indexes, '$[*]' COLUMNS (
             name VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin PATH '$.name',
             columns VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin PATH '$.columns',
             count INT PATH '$.count')) AS wanted
      LEFT JOIN information_schema.statistics AS s
        ON s.table_schema = DATABASE()
       AND s.table_name = 'agent_outbox_messages'
       AND s.index_name = wanted.name
     GROUP BY wanted.name, wanted.columns, wanted.count
    HAVING COUNT(s.column_name) <> wanted.count
        OR SUM(s.column_name = SUBSTRING_INDEX(SUBSTRING_INDEX(wanted.columns, ', ', s.seq_in_index), ', ', -1)) <> wanted.count;
  DECLARE CONTINUE HANDLER FOR NOT FOUND SET v_done = TRUE;

  OPEN v_bad;
  each_index: LOOP
    FETCH v_bad INTO v_name, v_columns, v_is_there;
    IF v_done THEN
      LEAVE each_index;
    END IF;
    SET v_wrong = TRUE;
    CALL outbox_internal_tell_v1(p_findings, 'error', 'tables',
      CONCAT('index ', v_name, ' of agent_outbox_messages is missing or another one'),
      CONCAT('ALTER TABLE agent_outbox_messages ', IF(v_is_there, CONCAT('DROP KEY ', v_name, ', '), ''),
        'ADD KEY ', v_name, ' (', v_columns, '), ALGORITHM = INPLACE, LOCK = NONE'));
  END LOOP;
  CLOSE v_bad;
  WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < 63)
  SELECT /*+ SET_VAR(group_concat_max_len = 1024) SET_VAR(cte_max_recursion_depth = 64) SET_VAR(sql_big_selects = 1) */ COUNT(*), GROUP_CONCAT('(', numbers.n, ')' ORDER BY numbers.n SEPARATOR ', ')
    INTO v_lost, v_values
    FROM numbers
   WHERE NOT EXISTS (SELECT 1 FROM outbox_slots WHERE slot = numbers.n);
  IF v_lost > 0 THEN
    SET v_wrong = TRUE;
    CALL outbox_internal_tell_v1(p_findings, 'error', 'tables',
      CONCAT('outbox_slots lacks ', v_lost, ' of its 64 rows: nobody relays these slots'),
      CONCAT('INSERT INTO outbox_slots (slot) VALUES ', v_values));
  END IF;
  IF NOT EXISTS (SELECT 1 FROM outbox_installation) THEN
    SET v_wrong = TRUE;
    CALL outbox_internal_tell_v1(p_findings, 'error', 'tables', 'outbox_installation has no row: this outbox has no identity',
      'INSERT INTO outbox_installation (installation_id) VALUES (UUID())');
  END IF;
  IF NOT v_wrong THEN
    CALL outbox_internal_tell_v1(p_findings, 'ok', 'tables', 'indexes, slots and identity are there', NULL);
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (934, 'V0934__internal_examine_tables_v1.sql');
