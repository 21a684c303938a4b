SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_hold_back_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_hold_back_v1 (
  INOUT p_heads JSON,
  IN p_uncommitted JSON,
  IN p_missing_id BIGINT UNSIGNED,
  OUT p_is_held BOOLEAN
)
COMMENT '
The guard against transactions that commit out of id order. A head that READ COMMITTED does not see is not committed
(or no longer pending): the later heads of its lane must wait for it, and so must those behind what
outbox_internal_find_unsettled_v1 has found. Takes out the heads that must wait.
Internal: outbox_internal_next_batch_v1 calls it.

Parameters
  INOUT p_heads JSON: [[id, lane], ...] in any order; comes back without the heads that must wait, NULL if none is left
  p_uncommitted JSON: [[id, lane], ...] that hold back the later heads of their lane; NULL: none
  p_missing_id BIGINT UNSIGNED: holds back all later heads; NULL: none
  OUT p_is_held BOOLEAN: whether any had to wait

Owns its transaction (READ COMMITTED); changes nothing.

Example
  mysql> SET @heads = ''[[10, 77], [11, 77]]'';
  mysql> CALL outbox_internal_hold_back_v1(@heads, NULL, NULL, @is_held);
'
SQL SECURITY DEFINER
READS SQL DATA
BEGIN
  DECLARE v_given INT DEFAULT COALESCE(JSON_LENGTH(p_heads), 0);
  DECLARE v_visible INT DEFAULT 0;

  SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
  START TRANSACTION;
  IF v_given > 0 THEN
    SELECT COUNT(*)
      INTO v_visible
      FROM JSON_TABLE(p_heads, '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$[0]')) AS head
      STRAIGHT_JOIN agent_outbox_messages AS m FORCE INDEX (PRIMARY) ON m.id = head.id
     WHERE m.status = 'pending';
  END IF;

  IF v_visible < v_given OR (v_given > 0 AND (p_uncommitted IS NOT NULL OR p_missing_id IS NOT NULL)) THEN
    SELECT JSON_ARRAYAGG(JSON_ARRAY(seen.id, seen.lane))
      INTO p_heads
      FROM (
        SELECT given.id,
               given.is_visible,
               given.lane,
               MIN(IF(given.is_visible, NULL, given.id)) OVER (PARTITION BY given.lane) AS first_invisible
          FROM (
            SELECT head.id, head.lane, m.id IS NOT NULL AS is_visible
              FROM JSON_TABLE(p_heads, '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$[0]', lane INT UNSIGNED PATH '$[1]')) AS head
              LEFT JOIN agent_outbox_messages AS m FORCE INDEX (PRIMARY) ON m.id = head.id AND m.status = 'pending'
            UNION ALL
            SELECT uncommitted.id, uncommitted.lane, FALSE
              FROM JSON_TABLE(COALESCE(p_uncommitted, '[]'), '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$[0]', lane INT UNSIGNED PATH '$[1]')) AS uncommitted
          ) AS given
      ) AS seen
     WHERE seen.is_visible
       AND (seen.first_invisible IS NULL OR seen.id < seen.first_invisible)
       AND (p_missing_id IS NULL OR seen.id < p_missing_id);
  END IF;
  COMMIT AND NO CHAIN NO RELEASE;
  SET p_is_held = COALESCE(JSON_LENGTH(p_heads), 0) < v_given;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (513, 'V0513__internal_hold_back_v1.sql');
