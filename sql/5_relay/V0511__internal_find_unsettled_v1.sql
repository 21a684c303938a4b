SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_find_unsettled_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_find_unsettled_v1 (
  INOUT p_settled BIGINT UNSIGNED,
  OUT p_top BIGINT UNSIGNED,
  OUT p_young JSON,
  OUT p_missing_id BIGINT UNSIGNED
)
COMMENT '
Finds what may still appear among the ids of the last 100 ms: rows that are not committed, and ids that have been given
out and have no row yet. MySQL gives an id out before it inserts the row, so another transaction can take the next
id, insert and commit in between; a statement that inserts many rows takes all their ids when it begins.
Internal: outbox_internal_next_batch_v1 calls it, before it reads the heads: those see all that is committed here.

An id whose transaction was rolled back looks like one that has no row yet. So messages that were enqueued right behind
it wait until the statements have ended that were inserting then (outbox_internal_find_inserts_v1), or, where those
cannot be seen, for what is left of the 100 ms. Any id without a row counts, because the writers'' auto_increment_increment
is theirs.

Parameters
  INOUT p_settled BIGINT UNSIGNED: an id up to which all are settled, from the call before; NULL: not known, then the end
    of the table is searched for it. Comes back as far as it is now
  OUT p_top BIGINT UNSIGNED: the last id that is committed; 0 where there is none
  OUT p_young JSON: [[id, lane], ...] of the rows that are unsettled, as far as they are open; lane is the hash that
    open_lane holds; NULL: none
  OUT p_missing_id BIGINT UNSIGNED: the lowest id that has no row: all later messages must wait; NULL: none

Owns its transactions (READ COMMITTED, then READ UNCOMMITTED); changes nothing. Keeps for the next call of the session:
  @outbox_inserted  up to this id each has a row, or never will; NULL: not known
  @outbox_doubts    the statements that have to end until that holds up to the id @outbox_doubted; NULL: none

Example
  mysql> SET @settled = 9;
  mysql> CALL outbox_internal_find_unsettled_v1(@settled, @top, @young, @missing_id);
  mysql> SELECT @settled, @top, @young, @missing_id;
  +----------+------+-------------------+-------------+
  | @settled | @top | @young            | @missing_id |
  +----------+------+-------------------+-------------+
  |        9 |   13 | [[10, 326707096]] |          12 |
  +----------+------+-------------------+-------------+
'
SQL SECURITY DEFINER
READS SQL DATA
BEGIN
  DECLARE v_settles_within_us INT DEFAULT 100000;
  DECLARE v_now DATETIME(6) DEFAULT UTC_TIMESTAMP(6);
  -- A time in the future is an application's own.
  DECLARE v_young_from DATETIME(6) DEFAULT v_now - INTERVAL v_settles_within_us MICROSECOND;
  DECLARE v_young_to DATETIME(6) DEFAULT v_now + INTERVAL 1 SECOND;
  DECLARE v_most INT DEFAULT 10000;
  DECLARE v_old, v_lowest, v_last, v_inserted BIGINT UNSIGNED;
  DECLARE v_inserts JSON;
  DECLARE v_doubts JSON DEFAULT CONVERT(@outbox_doubts USING utf8mb4);
  DECLARE v_committed INT;
  DECLARE v_rows INT DEFAULT 64;
  DECLARE v_seen INT DEFAULT 0;

  SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
  START TRANSACTION;
  SELECT COALESCE(MAX(id), 0) INTO p_top FROM agent_outbox_messages;
  IF p_settled IS NULL THEN
    -- From the end of the table back to the first row that is old, 16 times as many rows at each try.
    look_back: LOOP
      SELECT /*+ SET_VAR(sql_big_selects = 1) */ MAX(IF(last.is_young, NULL, last.id)), MIN(last.id), COUNT(*)
        INTO v_old, v_lowest, v_seen
        FROM (
          SELECT id, COALESCE(created_at BETWEEN v_young_from AND v_young_to, FALSE) AS is_young
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
    SET p_settled = COALESCE(v_old, v_lowest - 1, p_top);
  END IF;
  -- Of an empty table nothing is known. Its end may have been purged.
  SET p_settled = IF(p_top > 0, LEAST(p_settled, p_top), NULL);
  SET v_seen = 0;
  IF p_settled < p_top THEN
    SELECT /*+ SET_VAR(sql_big_selects = 1) */ COUNT(*)
      INTO v_seen
      FROM agent_outbox_messages FORCE INDEX (PRIMARY)
     WHERE id > p_settled
       AND id <= p_top;
  END IF;
  IF v_seen < p_top - p_settled THEN
    CALL outbox_internal_find_inserts_v1(v_inserts);
  END IF;
  COMMIT AND NO CHAIN NO RELEASE;

  IF p_top = 0 OR v_seen = p_top - p_settled THEN
    -- Each id has a row that is committed.
    SET p_settled = NULLIF(p_top, 0);
  ELSE
    -- An id without a row belongs to a statement that is running: once those have ended that ran when the ids up to p_top had
    -- been given out, each of these ids has a row, or never will. The dirty read has to come behind that.
    SET v_committed = v_seen;
    SET v_inserted = IF(@outbox_inserted <= p_top, @outbox_inserted, 0);
    IF JSON_LENGTH(v_inserts) = 0 THEN
      SET v_inserted = p_top, v_doubts = NULL;
    ELSEIF NOT JSON_OVERLAPS(v_doubts, v_inserts) AND @outbox_doubted <= p_top THEN
      SET v_inserted = GREATEST(v_inserted, @outbox_doubted), v_doubts = NULL;
    END IF;
    IF v_doubts IS NULL AND v_inserted < p_top THEN
      SET v_doubts = v_inserts, @outbox_doubted = p_top;
    END IF;
    SET @outbox_inserted = v_inserted, @outbox_doubts = v_doubts;
    -- What is old is settled, although it may not be committed: the heads show that.
    SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED;
    START TRANSACTION;
    SELECT /*+ SET_VAR(sql_big_selects = 1) */ COALESCE(MAX(IF(created_at BETWEEN v_young_from AND v_young_to, NULL, id)), p_settled), COUNT(*)
      INTO p_settled, v_rows
      FROM agent_outbox_messages FORCE INDEX (PRIMARY)
     WHERE id > p_settled
       AND id <= p_top;
    -- Behind so many the rest waits for the next look, as behind an id that is missing.
    SELECT /*+ SET_VAR(sql_big_selects = 1) */ MIN(IF(young.id > GREATEST(young.id_before, v_inserted) + 1, GREATEST(young.id_before, v_inserted) + 1, NULL)), JSON_ARRAYAGG(JSON_ARRAY(young.id, young.lane)), MAX(young.id), COUNT(*)
      INTO p_missing_id, p_young, v_last, v_seen
      FROM (
        SELECT id, open_lane AS lane, LAG(id, 1, p_settled) OVER (ORDER BY id) AS id_before
          FROM agent_outbox_messages FORCE INDEX (PRIMARY)
         WHERE id > p_settled
           AND id <= p_top
         ORDER BY id
         LIMIT v_most
      ) AS young;
    IF v_seen = v_most THEN
      SET p_missing_id = LEAST(COALESCE(p_missing_id, v_last + 1), v_last + 1);
    ELSEIF v_rows = v_committed AND v_inserted >= p_top THEN
      -- Each id has a row that was committed before, or never will have one.
      SET p_settled = p_top, p_young = NULL;
    END IF;
    COMMIT AND NO CHAIN NO RELEASE;
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (511, 'V0511__internal_find_unsettled_v1.sql');
