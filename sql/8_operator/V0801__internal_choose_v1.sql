SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_choose_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_choose_v1 (
  IN p_what VARCHAR(8) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_topic TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_biz_type TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_message_key TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_error_like TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_before DATETIME(6),
  IN p_is_newest_first BOOLEAN,
  IN p_past_id BIGINT UNSIGNED,
  IN p_limit INT,
  OUT p_ids JSON
)
COMMENT '
Chooses dead letters or failing messages by the filters that all of the operator''s routines share.
Internal: what lists or changes dead letters or failing messages calls it.

Parameters
  p_what VARCHAR(8): dead, or failing: pending after a failure
  p_topic TEXT: only this topic; NULL: any
  p_biz_type TEXT: only this business type; NULL: any
  p_message_key TEXT: only this key; NULL: any
  p_error_like TEXT: only where last_error is LIKE this, with the wildcards % and _; NULL: any
  p_before DATETIME(6): only what died or failed last before this time, UTC; NULL: any
  p_is_newest_first BOOLEAN: from the highest id down; else from the lowest up
  p_past_id BIGINT UNSIGNED: only what comes after this id in that order; NULL: from the beginning
  p_limit INT: messages at most, up to 1000000; NULL or 0: 1000
  OUT p_ids JSON: array of ids in that order; NULL if there is none

Errors
  30005 p_limit is out of range

Transaction: the caller''s. No locks. Reads all messages that are dead, or that are failing, and no others.

Example
  mysql> CALL outbox_internal_choose_v1(''dead'', ''chat'', NULL, NULL, ''%read only%'', NULL, FALSE, NULL, 100, @ids);
'
SQL SECURITY DEFINER
READS SQL DATA
BEGIN
  DECLARE v_limit INT DEFAULT COALESCE(NULLIF(p_limit, 0), 1000);
  DECLARE v_status VARCHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin DEFAULT IF(p_what = 'dead', 'dead', 'pending');
  DECLARE v_least_failures INT DEFAULT IF(p_what = 'dead', 0, 1);

  IF v_limit NOT BETWEEN 1 AND 1000000 THEN
    CALL outbox_internal_raise_v1(30005, CONCAT('p_limit must be from 0 to 1000000: ', p_limit));
  END IF;
  SELECT /*+ SET_VAR(sql_big_selects = 1) */ JSON_ARRAYAGG(chosen.id)
    INTO p_ids
    FROM (
      SELECT m.id
        FROM agent_outbox_messages AS m FORCE INDEX (idx_outbox_status_next)
       WHERE m.status = v_status
         AND m.retry_count >= v_least_failures
         AND (p_topic IS NULL OR m.topic = p_topic)
         AND (p_biz_type IS NULL OR m.biz_type = p_biz_type)
         AND (p_message_key IS NULL OR m.message_key = p_message_key)
         AND (p_error_like IS NULL OR m.last_error LIKE p_error_like)
         AND (p_before IS NULL OR m.updated_at < p_before)
         AND (p_past_id IS NULL OR IF(p_is_newest_first, m.id < p_past_id, m.id > p_past_id))
       ORDER BY IF(p_is_newest_first, NULL, m.id), m.id DESC
       LIMIT v_limit
    ) AS chosen;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (801, 'V0801__internal_choose_v1.sql');
