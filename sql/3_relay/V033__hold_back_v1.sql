SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';

DROP PROCEDURE IF EXISTS outbox_hold_back_v1;

DELIMITER $$

CREATE PROCEDURE outbox_hold_back_v1 (
  INOUT p_heads JSON,
  OUT p_held BOOLEAN
)
COMMENT '
The guard against late commits. Ids are given out when a row is inserted, but transactions commit in another
order: a head that is not visible to READ COMMITTED is not committed (or no longer pending), and the later heads of
its topic and key must wait for it.
Internal: outbox_claim_v1 calls it.

Parameters
  INOUT p_heads JSON: [[id, lane], ...] by ascending id; comes back without the heads that must wait, NULL if none is left
  OUT p_held BOOLEAN: whether any had to wait

Owns its transaction (READ COMMITTED); changes nothing.

Example
  mysql> SET @heads = ''[[10, 77], [11, 77]]'';
  mysql> CALL outbox_hold_back_v1(@heads, @held);
'
SQL SECURITY DEFINER
READS SQL DATA
BEGIN
  SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
  START TRANSACTION;
  SELECT COUNT(*) < JSON_LENGTH(p_heads)
    INTO p_held
    FROM JSON_TABLE(p_heads, '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$[0]')) AS head
    STRAIGHT_JOIN agent_outbox_messages AS m FORCE INDEX (PRIMARY) ON m.id = head.id
   WHERE m.status = 'pending';

  IF p_held THEN
    SELECT JSON_ARRAYAGG(JSON_ARRAY(sorted.id, sorted.lane))
      INTO p_heads
      FROM (
        SELECT seen.id, seen.lane
          FROM (
            SELECT head.id,
                   head.lane,
                   m.id IS NOT NULL AS is_committed,
                   MIN(IF(m.id IS NULL, head.id, NULL)) OVER (PARTITION BY head.lane) AS first_late
              FROM JSON_TABLE(p_heads, '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$[0]', lane INT UNSIGNED PATH '$[1]')) AS head
              LEFT JOIN agent_outbox_messages AS m FORCE INDEX (PRIMARY) ON m.id = head.id AND m.status = 'pending'
          ) AS seen
         WHERE seen.is_committed
           AND (seen.first_late IS NULL OR seen.id < seen.first_late)
         ORDER BY seen.id
         LIMIT 1000000
      ) AS sorted;
  END IF;
  COMMIT;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (33, 'V033__hold_back_v1.sql');
