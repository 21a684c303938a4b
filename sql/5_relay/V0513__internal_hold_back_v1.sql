SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_hold_back_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_hold_back_v1 (
  INOUT p_heads JSON,
  IN p_late JSON,
  IN p_gap BIGINT UNSIGNED,
  OUT p_held BOOLEAN
)
COMMENT '
The guard against late commits. Ids are given out when a row is inserted, but transactions commit in another
order: a head that is not visible to READ COMMITTED is not committed (or no longer pending), and the later heads of
its topic and key must wait for it. So must those behind what outbox_internal_find_unsettled_v1 has found.
Internal: outbox_claim_v1 calls it.

Parameters
  INOUT p_heads JSON: [[id, lane], ...] by ascending id; comes back without the heads that must wait, NULL if none is left
  p_late JSON: [[id, lane], ...] that hold back the later heads of their lane; NULL: none
  p_gap BIGINT UNSIGNED: holds back all later heads; NULL: none
  OUT p_held BOOLEAN: whether any had to wait

Owns its transaction (READ COMMITTED); changes nothing.

Example
  mysql> SET @heads = ''[[10, 77], [11, 77]]'';
  mysql> CALL outbox_internal_hold_back_v1(@heads, NULL, NULL, @held);
'
SQL SECURITY DEFINER
READS SQL DATA
BEGIN
  DECLARE v_given INT DEFAULT JSON_LENGTH(p_heads);
  DECLARE v_visible INT;

  SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
  START TRANSACTION;
  SELECT COUNT(*)
    INTO v_visible
    FROM JSON_TABLE(p_heads, '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$[0]')) AS head
    STRAIGHT_JOIN agent_outbox_messages AS m FORCE INDEX (PRIMARY) ON m.id = head.id
   WHERE m.status = 'pending';

  IF v_visible < v_given OR p_late IS NOT NULL OR p_gap IS NOT NULL THEN
    SELECT JSON_ARRAYAGG(JSON_ARRAY(sorted.id, sorted.lane))
      INTO p_heads
      FROM (
        SELECT seen.id, seen.lane
          FROM (
            SELECT given.id,
                   given.lane,
                   given.is_ready,
                   MIN(IF(given.is_ready, NULL, given.id)) OVER (PARTITION BY given.lane) AS first_late
              FROM (
                SELECT head.id, head.lane, m.id IS NOT NULL AS is_ready
                  FROM JSON_TABLE(p_heads, '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$[0]', lane INT UNSIGNED PATH '$[1]')) AS head
                  LEFT JOIN agent_outbox_messages AS m FORCE INDEX (PRIMARY) ON m.id = head.id AND m.status = 'pending'
                UNION ALL
                SELECT late.id, late.lane, FALSE
                  FROM JSON_TABLE(COALESCE(p_late, '[]'), '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$[0]', lane INT UNSIGNED PATH '$[1]')) AS late
              ) AS given
          ) AS seen
         WHERE seen.is_ready
           AND (seen.first_late IS NULL OR seen.id < seen.first_late)
           AND (p_gap IS NULL OR seen.id < p_gap)
         ORDER BY seen.id
         LIMIT 1000000
      ) AS sorted;
  END IF;
  COMMIT;
  SET p_held = COALESCE(JSON_LENGTH(p_heads), 0) < v_given;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (513, 'V0513__internal_hold_back_v1.sql');
