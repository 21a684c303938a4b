SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_hold_back_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_hold_back_v1 (
  INOUT p_heads JSON,
  IN p_young JSON,
  OUT p_to_park JSON,
  OUT p_uncommitted INT
)
COMMENT '
The guard against transactions that commit out of id order. A head that READ COMMITTED does not see is not committed
(or no longer pending): the later heads of its lane must wait for it, and so must those behind a head that has to wait,
and behind what outbox_internal_find_unsettled_v1 has found. Takes out the heads that must wait.
Internal: outbox_internal_examine_v1 calls it.

Parameters
  INOUT p_heads JSON: as of outbox_internal_read_heads_v1; comes back as [id, ...] by ascending id, without the
    heads that must wait, NULL if none is left
  p_young JSON: [[id, lane], ...] of unsettled rows; NULL: none
  OUT p_to_park JSON: the heads that wait for a pause or for one that is waiting, as given; NULL: none
  OUT p_uncommitted INT: how many heads are not committed

Owns its transaction (READ COMMITTED); changes nothing.

Example
  mysql> SET @heads = ''[[10, 77, null, 40], [11, 77, null, 40]]'';
  mysql> CALL outbox_internal_hold_back_v1(@heads, NULL, @to_park, @uncommitted);
'
SQL SECURITY DEFINER
READS SQL DATA
BEGIN
  DECLARE v_given INT DEFAULT COALESCE(JSON_LENGTH(p_heads), 0);
  DECLARE v_visible, v_waiting, v_left INT DEFAULT 0;
  DECLARE v_ids JSON;

  SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
  START TRANSACTION;
  IF v_given > 0 THEN
    SELECT /*+ SET_VAR(sql_big_selects = 1) */ COUNT(*), COALESCE(SUM(sorted.waits_for IS NOT NULL), 0), JSON_ARRAYAGG(sorted.id)
      INTO v_visible, v_waiting, v_ids
      FROM (
        SELECT head.id, head.waits_for
          FROM JSON_TABLE(p_heads, '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$[0]', waits_for BIGINT UNSIGNED PATH '$[2]')) AS head
          STRAIGHT_JOIN agent_outbox_messages AS m FORCE INDEX (PRIMARY) ON m.id = head.id
         WHERE m.status = 'pending'
         ORDER BY head.id
         LIMIT 100000
      ) AS sorted;
  END IF;

  IF v_given > 0 AND (v_visible < v_given OR v_waiting > 0 OR p_young IS NOT NULL) THEN
    SELECT /*+ SET_VAR(sql_big_selects = 1) */ JSON_ARRAYAGG(sorted.id)
      INTO v_ids
      FROM (
        SELECT seen.id
          FROM (
            SELECT given.id, given.lane, given.is_free,
                   MIN(IF(given.is_free, NULL, given.id)) OVER (PARTITION BY given.lane) AS first_held
              FROM (
                SELECT head.id, head.lane, m.id IS NOT NULL AND head.waits_for IS NULL AS is_free
                  FROM JSON_TABLE(p_heads, '$[*]' COLUMNS (
                         id BIGINT UNSIGNED PATH '$[0]',
                         lane INT UNSIGNED PATH '$[1]',
                         waits_for BIGINT UNSIGNED PATH '$[2]')) AS head
                  LEFT JOIN agent_outbox_messages AS m FORCE INDEX (PRIMARY) ON m.id = head.id AND m.status = 'pending'
                 UNION ALL
                -- One that was inserted, but not yet into the queue, when the heads were read is held back, too.
                SELECT young.id, young.lane, FALSE
                  FROM JSON_TABLE(COALESCE(p_young, '[]'), '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$[0]', lane INT UNSIGNED PATH '$[1]')) AS young
                  LEFT JOIN agent_outbox_messages AS m FORCE INDEX (PRIMARY) ON m.id = young.id
                 WHERE young.lane IS NOT NULL
                   AND (m.id IS NULL OR m.status = 'pending')
                   AND young.id NOT IN (SELECT head.id FROM JSON_TABLE(p_heads, '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$[0]')) AS head)
              ) AS given
          ) AS seen
         WHERE seen.is_free
           AND (seen.lane IS NULL OR seen.first_held IS NULL OR seen.id < seen.first_held)
         ORDER BY seen.id
         LIMIT 100000
      ) AS sorted;
    IF v_waiting > 0 THEN
      SELECT JSON_ARRAYAGG(JSON_ARRAY(head.id, head.lane, head.waits_for))
        INTO p_to_park
        FROM JSON_TABLE(p_heads, '$[*]' COLUMNS (
               id BIGINT UNSIGNED PATH '$[0]',
               lane INT UNSIGNED PATH '$[1]',
               waits_for BIGINT UNSIGNED PATH '$[2]')) AS head
       WHERE head.waits_for > 0;
    END IF;
  END IF;
  COMMIT AND NO CHAIN NO RELEASE;
  SET p_heads = v_ids, p_uncommitted = v_given - v_visible;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (513, 'V0513__internal_hold_back_v1.sql');
