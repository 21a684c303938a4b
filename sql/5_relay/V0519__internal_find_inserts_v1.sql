SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_find_inserts_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_find_inserts_v1 (
  OUT p_inserts JSON
)
COMMENT '
Finds the statements of other sessions that may be inserting at this moment. An id that was given out before belongs to
one of them, or its row was inserted, or will never be.
Internal: outbox_internal_find_unsettled_v1 calls it where an id has no row.

Parameters
  OUT p_inserts JSON: ["<thread>:<event>", ...], as performance_schema names running statements; [] where there is none; NULL where
    the server does not show them: the account that applied the migrations needs SELECT on performance_schema, which by
    default has what is needed switched on

What cannot insert by itself is left out, as its first word tells: a CALL shows the statement that it has come to as well. Not
so one that is nested as deep as performance_schema can see.

Reads in the caller''s transaction; changes nothing.

Example
  mysql> CALL outbox_internal_find_inserts_v1(@inserts);
'
SQL SECURITY DEFINER
READS SQL DATA
BEGIN
  DECLARE v_own, v_unseen INT;
  -- 1142: the privilege is missing. 1146, 1356: performance_schema is not as it should be.
  DECLARE EXIT HANDLER FOR 1142, 1143, 1146, 1356
    SET p_inserts = NULL;

  IF @outbox_sees_inserts IS NULL THEN
    SELECT /*+ SET_VAR(sql_big_selects = 1) */ COUNT(*) = 0
      INTO @outbox_sees_inserts
      FROM performance_schema.setup_instruments
     WHERE enabled = 'NO'
       AND (name LIKE 'statement/sql/%' OR name LIKE 'statement/com/%' OR name LIKE 'statement/abstract/%'
         OR name IN ('statement/sp/stmt', 'statement/scheduler/event'));
  END IF;
  -- This statement is one of those that are shown, if any are.
  SELECT /*+ SET_VAR(sql_big_selects = 1) */
         COALESCE(SUM(running.is_own), 0), JSON_ARRAYAGG(CONCAT(running.thread_id, ':', running.event_id)),
         (SELECT COUNT(*) FROM performance_schema.threads AS t WHERE t.type = 'FOREGROUND' AND t.instrumented = 'NO')
    INTO v_own, p_inserts, v_unseen
    FROM (
      SELECT e.thread_id, e.event_id, e.thread_id = PS_CURRENT_THREAD_ID() AS is_own
        FROM performance_schema.events_statements_current AS e
       WHERE e.end_event_id IS NULL
         AND (e.thread_id = PS_CURRENT_THREAD_ID()
           OR NOT COALESCE(
             e.sql_text REGEXP '^[[:space:](]*(SELECT|CALL|DO|SET|COMMIT|UPDATE|DELETE)([[:space:]]|$)'
             AND e.nesting_event_level < @@GLOBAL.performance_schema_max_statement_stack - 1, FALSE))
       ORDER BY is_own DESC
       LIMIT 100000
    ) AS running;
  IF v_own = 0 OR v_unseen > 0 OR NOT @outbox_sees_inserts THEN
    SET p_inserts = NULL;
  ELSE
    SET p_inserts = COALESCE(JSON_EXTRACT(p_inserts, CONCAT('$[', v_own, ' to last]')), '[]');
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (519, 'V0519__internal_find_inserts_v1.sql');
