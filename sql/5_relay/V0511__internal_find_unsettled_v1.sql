SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_find_unsettled_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_find_unsettled_v1 (
  OUT p_top BIGINT UNSIGNED,
  OUT p_late JSON,
  OUT p_gap BIGINT UNSIGNED
)
COMMENT '
Finds what may still come between the messages of the last 100 ms: rows that are not committed, and ids that are given
out and have no row yet. An id is given out before its row is inserted, so another transaction can take the next one,
insert and commit in between; a statement that inserts many rows gives out all of their ids at its beginning.
Internal: outbox_claim_v1 calls it, before it reads the heads: what is committed here, they see.

An id that is missing because its transaction was rolled back looks the same, so that messages enqueued right behind
it are held back for what is left of the 100 ms.

Parameters
  OUT p_top BIGINT UNSIGNED: the last id that is committed; 0 where there is none
  OUT p_late JSON: [[id, lane], ...] that are not committed: the later messages of their topic and key must wait; NULL
    if there is none
  OUT p_gap BIGINT UNSIGNED: an id without a row: all later messages must wait; NULL if there is none

Owns its transactions (READ COMMITTED, then READ UNCOMMITTED); changes nothing.

Example
  mysql> CALL outbox_internal_find_unsettled_v1(@top, @late, @gap);
  mysql> SELECT @top, @late, @gap;
  +------+-------------------+------+
  | @top | @late             | @gap |
  +------+-------------------+------+
  |   13 | [[10, 326707096]] |   12 |
  +------+-------------------+------+
'
SQL SECURITY DEFINER
READS SQL DATA
BEGIN
  DECLARE v_now DATETIME(6) DEFAULT UTC_TIMESTAMP(6);
  DECLARE v_old, v_lowest BIGINT UNSIGNED;
  DECLARE v_look, v_seen INT DEFAULT 1;
  DECLARE v_committed JSON;

  SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
  START TRANSACTION;
  SELECT COALESCE(MAX(id), 0) INTO p_top FROM agent_outbox_messages;
  -- From the end of the table back to the first row that is old. A time that is yet to come is an application's own.
  look: LOOP
    SELECT MAX(IF(last.is_young, NULL, last.id)), MIN(last.id), COUNT(*)
      INTO v_old, v_lowest, v_seen
      FROM (
        SELECT id,
               COALESCE(created_at BETWEEN v_now - INTERVAL 100000 MICROSECOND AND v_now + INTERVAL 1 SECOND, FALSE) AS is_young
          FROM agent_outbox_messages FORCE INDEX (PRIMARY)
         WHERE id <= p_top
         ORDER BY id DESC
         LIMIT v_look
      ) AS last;
    IF v_old IS NOT NULL OR v_seen < v_look THEN
      LEAVE look;
    END IF;
    SET v_look = v_look * 16;
  END LOOP;
  -- Before a table's first row nothing can be missed.
  SET v_old = COALESCE(v_old, v_lowest - 1, p_top);
  IF v_old < p_top THEN
    SELECT JSON_ARRAYAGG(id) INTO v_committed FROM agent_outbox_messages FORCE INDEX (PRIMARY) WHERE id > v_old AND id <= p_top;
  END IF;
  COMMIT;

  IF v_old < p_top THEN
    SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED;
    START TRANSACTION;
    SELECT MIN(young.id_before) + 1
      INTO p_gap
      FROM (
        SELECT id, LAG(id, 1, v_old) OVER (ORDER BY id) AS id_before
          FROM agent_outbox_messages FORCE INDEX (PRIMARY)
         WHERE id > v_old
           AND id <= p_top
      ) AS young
     WHERE young.id > young.id_before + @@auto_increment_increment;
    SELECT JSON_ARRAYAGG(JSON_ARRAY(m.id, CRC32(CONCAT(m.topic, ':', m.message_key))))
      INTO p_late
      FROM agent_outbox_messages AS m FORCE INDEX (PRIMARY)
      LEFT JOIN JSON_TABLE(v_committed, '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$')) AS committed ON committed.id = m.id
     WHERE m.id > v_old
       AND m.id <= p_top
       AND committed.id IS NULL;
    COMMIT;
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (511, 'V0511__internal_find_unsettled_v1.sql');
