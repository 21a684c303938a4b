SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_summarize_dead_v1;

DELIMITER $$

CREATE PROCEDURE outbox_summarize_dead_v1 (
  IN p_topic TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_biz_type TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_message_key TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_error_like TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_before DATETIME(6),
  IN p_limit INT
)
COMMENT '
Groups dead letters by business type and error. Errors that differ in numbers or in what they quote alone are one: a number
becomes N, and what stands in quotation marks is left out.

Parameters
  p_topic TEXT: only this topic; NULL: any
  p_biz_type TEXT: only this business type; NULL: any
  p_message_key TEXT: only this key; NULL: any
  p_error_like TEXT: only where last_error is LIKE this, with the wildcards % and _; NULL: any
  p_before DATETIME(6): only what died before this time, UTC; NULL: any
  p_limit INT: rows at most; NULL or 0: 100

Result set, the most frequent first: biz_type, error, messages, topics (how many), example_id (the newest of them),
first_died_at, last_died_at (UTC).

Errors
  30005 p_limit is negative

Called by: operators. Reads only; transaction: the caller''s. Reads the dead letters, and groups the newest 100000 that match.

Example
  mysql> CALL outbox_summarize_dead_v1(NULL, NULL, NULL, NULL, NULL, 10);
  +--------------+------------------------------------------+----------+--------+------------+---------------+--------------+
  | biz_type     | error                                    | messages | topics | example_id | first_died_at | last_died_at |
  +--------------+------------------------------------------+----------+--------+------------+---------------+--------------+
  | order_placed | Duplicate entry ''...'' for key ''...''      |      312 |      1 |       4711 | ...           | ...          |
  +--------------+------------------------------------------+----------+--------+------------+---------------+--------------+
'
SQL SECURITY DEFINER
READS SQL DATA
BEGIN
  DECLARE v_limit INT DEFAULT COALESCE(NULLIF(p_limit, 0), 100);
  DECLARE v_most INT DEFAULT 100000;
  -- What tells errors apart is at their beginning, and the longer a text, the longer it takes to fold it.
  DECLARE v_length INT DEFAULT 300;
  DECLARE v_quoted VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin
    DEFAULT REPLACE('(?s)Q[^Q]*(Q|$)|"[^"]*("|$)|`[^`]*(`|$)', 'Q', CHAR(39 USING utf8mb4));
  DECLARE v_instead VARCHAR(8) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin DEFAULT CONCAT(CHAR(39 USING utf8mb4), '...', CHAR(39 USING utf8mb4));
  DECLARE v_ids JSON;

  IF v_limit < 0 THEN
    CALL outbox_internal_raise_v1(30005, CONCAT('p_limit must not be negative: ', p_limit));
  END IF;
  CALL outbox_internal_choose_v1('dead', p_topic, p_biz_type, p_message_key, p_error_like, p_before, TRUE, NULL, v_most, v_ids);
  SELECT /*+ SET_VAR(sql_big_selects = 1) */
         folded.biz_type, folded.error, COUNT(*) AS messages, COUNT(DISTINCT folded.topic) AS topics, MAX(folded.id) AS example_id,
         MIN(folded.updated_at) AS first_died_at, MAX(folded.updated_at) AS last_died_at
    FROM (
      SELECT m.id, m.biz_type, m.topic, m.updated_at,
             REGEXP_REPLACE(REGEXP_REPLACE(LEFT(m.last_error, v_length), v_quoted, v_instead), '[0-9]+', 'N') AS error
        FROM JSON_TABLE(COALESCE(v_ids, '[]'), '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$')) AS chosen
        STRAIGHT_JOIN agent_outbox_messages AS m FORCE INDEX (PRIMARY) ON m.id = chosen.id
    ) AS folded
   GROUP BY folded.biz_type, folded.error
   ORDER BY messages DESC, example_id DESC
   LIMIT v_limit;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (809, 'V0809__summarize_dead_v1.sql');
