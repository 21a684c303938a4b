SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_find_unsettled_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_find_unsettled_v1 (
  OUT p_top BIGINT UNSIGNED,
  OUT p_uncommitted JSON,
  OUT p_missing_id BIGINT UNSIGNED
)
COMMENT '
Finds what may still appear among the ids of the last 100 ms: rows that are not committed, and ids that have been given
out and have no row yet. MySQL gives an id out before it inserts the row, so another transaction can take the next
id, insert and commit in between; a statement that inserts many rows takes all their ids when it begins.
Internal: outbox_internal_next_batch_v1 calls it, before it reads the heads: those see all that is committed here.

An id whose transaction was rolled back looks like one that has no row yet. So messages that were enqueued right behind
it wait for what is left of the 100 ms.

Parameters
  OUT p_top BIGINT UNSIGNED: the last id that is committed; 0 where there is none
  OUT p_uncommitted JSON: [[id, lane], ...] of rows that are not committed: later messages of their lane must wait;
    lane is the hash that open_lane holds; NULL: none
  OUT p_missing_id BIGINT UNSIGNED: the lowest id that has no row: all later messages must wait; NULL: none

Owns its transactions (READ COMMITTED, then READ UNCOMMITTED); changes nothing.

Example
  mysql> CALL outbox_internal_find_unsettled_v1(@top, @uncommitted, @missing_id);
  mysql> SELECT @top, @uncommitted, @missing_id;
  +------+-------------------+-------------+
  | @top | @uncommitted      | @missing_id |
  +------+-------------------+-------------+
  |   13 | [[10, 326707096]] |          12 |
  +------+-------------------+-------------+
'
SQL SECURITY DEFINER
READS SQL DATA
BEGIN
  DECLARE v_settles_within_us INT DEFAULT 100000;
  DECLARE v_now DATETIME(6) DEFAULT UTC_TIMESTAMP(6);
  DECLARE v_old, v_lowest BIGINT UNSIGNED;
  DECLARE v_rows, v_seen INT DEFAULT 1;
  DECLARE v_committed JSON;

  SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
  START TRANSACTION;
  SELECT COALESCE(MAX(id), 0) INTO p_top FROM agent_outbox_messages;
  -- From the end of the table back to the first row that is old, 16 times as many rows at each try. A time in the future
  -- is an application's own.
  look_back: LOOP
    SELECT MAX(IF(last.is_young, NULL, last.id)), MIN(last.id), COUNT(*)
      INTO v_old, v_lowest, v_seen
      FROM (
        SELECT id,
               COALESCE(created_at BETWEEN v_now - INTERVAL v_settles_within_us MICROSECOND AND v_now + INTERVAL 1 SECOND, FALSE) AS is_young
          FROM agent_outbox_messages FORCE INDEX (PRIMARY)
         WHERE id <= p_top
         ORDER BY id DESC
         LIMIT v_rows
      ) AS last;
    IF v_old IS NOT NULL OR v_seen < v_rows THEN
      LEAVE look_back;
    END IF;
    SET v_rows = v_rows * 16;
  END LOOP;
  -- No id is missing before a table's first row.
  SET v_old = COALESCE(v_old, v_lowest - 1, p_top);
  IF v_old < p_top THEN
    SELECT JSON_ARRAYAGG(id) INTO v_committed FROM agent_outbox_messages FORCE INDEX (PRIMARY) WHERE id > v_old AND id <= p_top;
  END IF;
  COMMIT AND NO CHAIN NO RELEASE;

  IF v_old < p_top THEN
    SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED;
    START TRANSACTION;
    SELECT MIN(young.id_before) + 1
      INTO p_missing_id
      FROM (
        SELECT id, LAG(id, 1, v_old) OVER (ORDER BY id) AS id_before
          FROM agent_outbox_messages FORCE INDEX (PRIMARY)
         WHERE id > v_old
           AND id <= p_top
      ) AS young
     WHERE young.id > young.id_before + @@auto_increment_increment;
    SELECT JSON_ARRAYAGG(JSON_ARRAY(m.id, m.open_lane))
      INTO p_uncommitted
      FROM agent_outbox_messages AS m FORCE INDEX (PRIMARY)
     WHERE m.id > v_old
       AND m.id <= p_top
       AND m.open_lane IS NOT NULL
       AND m.id NOT IN (SELECT committed.id FROM JSON_TABLE(v_committed, '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$')) AS committed);
    COMMIT AND NO CHAIN NO RELEASE;
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (511, 'V0511__internal_find_unsettled_v1.sql');
