SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_examine_handlers_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_examine_handlers_v1 (
  INOUT p_findings JSON
)
COMMENT '
Examines the handlers of business types: whether they are there, and how long they take, since the server started, as far
as the definer may read performance_schema.
Internal: outbox_doctor_v1 calls it.

Parameters
  INOUT p_findings JSON: what was found so far, see outbox_internal_tell_v1; comes back with more

Reads only; transaction: the caller''s.

Example
  mysql> SET @findings = JSON_ARRAY();
  mysql> CALL outbox_internal_examine_handlers_v1(@findings);
'
SQL SECURITY DEFINER
READS SQL DATA
BEGIN
  DECLARE v_slow_seconds DOUBLE DEFAULT 0.1;
  DECLARE v_picoseconds DOUBLE DEFAULT 1e12;
  DECLARE v_done BOOLEAN DEFAULT FALSE;
  DECLARE v_wrong BOOLEAN DEFAULT FALSE;
  DECLARE v_count INT;
  DECLARE v_biz_type, v_handler, v_option TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;
  DECLARE v_calls BIGINT UNSIGNED;
  DECLARE v_seconds DOUBLE;
  DECLARE v_lost CURSOR FOR
    SELECT /*+ SET_VAR(optimizer_search_depth = 62) SET_VAR(sql_big_selects = 1) */ h.biz_type, h.handler, h.option_name
      FROM (
        SELECT biz_type, handler, '--handler' AS option_name FROM outbox_biz_types WHERE handler IS NOT NULL
        UNION ALL
        SELECT biz_type, batch_handler, '--batch-handler' FROM outbox_biz_types WHERE batch_handler IS NOT NULL
      ) AS h
     WHERE NOT EXISTS (
       SELECT 1
         FROM information_schema.routines AS r
        WHERE r.routine_schema = DATABASE()
          AND r.routine_type = 'PROCEDURE'
          AND r.routine_name = h.handler)
     ORDER BY h.biz_type, h.option_name;
  DECLARE v_slow CURSOR FOR
    SELECT /*+ SET_VAR(optimizer_search_depth = 62) SET_VAR(sql_big_selects = 1) */ h.biz_type, h.handler, p.count_star, p.avg_timer_wait / v_picoseconds
      FROM (
        SELECT biz_type, handler FROM outbox_biz_types
        UNION
        SELECT biz_type, batch_handler FROM outbox_biz_types
      ) AS h
      JOIN performance_schema.events_statements_summary_by_program AS p
        ON p.object_type = 'PROCEDURE'
       AND p.object_schema = DATABASE()
       AND p.object_name = h.handler
     WHERE p.avg_timer_wait > v_slow_seconds * v_picoseconds
     ORDER BY p.avg_timer_wait DESC;
  DECLARE CONTINUE HANDLER FOR NOT FOUND SET v_done = TRUE;

  OPEN v_lost;
  each_lost: LOOP
    FETCH v_lost INTO v_biz_type, v_handler, v_option;
    IF v_done THEN
      LEAVE each_lost;
    END IF;
    SET v_wrong = TRUE;
    CALL outbox_internal_tell_v1(p_findings, 'error', 'handlers',
      CONCAT('procedure ', v_handler, ', which handles business type ', v_biz_type, ', is not there: its messages fail'),
      CONCAT('make ', v_handler, ' again, or set another one: outboxd biz-type set ', v_biz_type, ' ', v_option, ' ...'));
  END LOOP;
  CLOSE v_lost;
  BEGIN
    DECLARE EXIT HANDLER FOR 1044, 1142, 1143
      CALL outbox_internal_tell_v1(p_findings, 'ok', 'handlers',
        CONCAT('how long they take is not seen: the definer ', CURRENT_USER(), ' lacks SELECT on performance_schema'), NULL);
    SET v_done = FALSE;
    OPEN v_slow;
    each_slow: LOOP
      FETCH v_slow INTO v_biz_type, v_handler, v_calls, v_seconds;
      IF v_done THEN
        LEAVE each_slow;
      END IF;
      SET v_wrong = TRUE;
      CALL outbox_internal_tell_v1(p_findings, 'warning', 'handlers',
        CONCAT(v_handler, ', which handles business type ', v_biz_type, ', has taken ', ROUND(v_seconds, 2), ' s a call in ', v_calls, ' calls'),
        CONCAT('make it faster: other messages wait for it, a consumer does no more than ', ROUND(1 / v_seconds, 1),
          ' of it a second; EXPLAIN its statements, and look for an index that they lack'));
    END LOOP;
    CLOSE v_slow;
  END;
  SELECT COUNT(handler) INTO v_count FROM outbox_biz_types;
  IF NOT v_wrong THEN
    CALL outbox_internal_tell_v1(p_findings, 'ok', 'handlers', CONCAT('all are there: ', v_count), NULL);
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (935, 'V0935__internal_examine_handlers_v1.sql');
