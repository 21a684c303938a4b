SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_examine_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_examine_v1 (
  IN p_relay VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_limit INT,
  IN p_owned INT,
  IN p_after BIGINT UNSIGNED,
  IN p_to BIGINT UNSIGNED,
  IN p_policies JSON,
  IN p_young JSON,
  IN p_parks BOOLEAN,
  OUT p_batch JSON,
  OUT p_through BIGINT UNSIGNED,
  OUT p_held INT,
  OUT p_waited_for INT
)
COMMENT '
Examines a part of the queue: reads its heads, holds back what must wait, and parks what waits for longer.
Internal: outbox_internal_next_batch_v1 calls it.

Parameters
  p_relay VARCHAR(128): the relay
  p_limit INT: messages at most
  p_owned INT: how many slots the relay owns
  p_after BIGINT UNSIGNED: reads behind this id; 0: from the beginning
  p_to BIGINT UNSIGNED: the last id to read
  p_policies JSON: as of outbox_internal_read_heads_v1
  p_young JSON: as of outbox_internal_hold_back_v1
  p_parks BOOLEAN: whether to park; otherwise what waits for longer is held back and stays in the queue
  OUT p_batch JSON: [id, ...] that can be sent, by ascending id; NULL: none
  OUT p_through BIGINT UNSIGNED: up to which id the relay''s slots have been read completely
  OUT p_held INT: how many messages must wait in the queue
  OUT p_waited_for INT: how many of those read are not committed or wait for longer: what the others wait for

Owns its transactions; changes only what it parks.

Example
  mysql> CALL outbox_internal_examine_v1(''relay-a'', 1000, 64, 0, 18446744073709551615, NULL, NULL, TRUE, @batch, @through, @held, @waited_for);
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_heads, v_read, v_to_park JSON;
  DECLARE v_found INT;

  CALL outbox_internal_read_heads_v1(p_relay, p_limit, p_owned, p_after, p_to, p_policies, v_heads);
  SET v_read = v_heads, v_found = COALESCE(JSON_LENGTH(v_heads), 0);
  CALL outbox_internal_hold_back_v1(v_heads, p_young, v_to_park, p_waited_for);
  SET p_batch = v_heads;
  SET p_held = v_found - COALESCE(JSON_LENGTH(p_batch), 0);
  SET p_waited_for = p_waited_for + COALESCE(JSON_LENGTH(v_to_park), 0);
  IF p_parks AND v_to_park IS NOT NULL THEN
    CALL outbox_internal_park_v1(v_to_park);
    SET p_held = p_held - JSON_LENGTH(v_to_park);
  END IF;
  -- Less than half of the limit: no slot had more (see the loop of outbox_internal_read_heads_v1). Otherwise the slots that
  -- gave most may have been cut off.
  SET p_through = p_to;
  IF v_found * 2 >= p_limit THEN
    SELECT IF(p_after > 0, IF(v_found < p_limit, p_to, MAX(slots.last_id)), MIN(IF(slots.messages = slots.most, slots.last_id, NULL)))
      INTO p_through
      FROM (
        SELECT COUNT(*) AS messages, MAX(head.id) AS last_id, MAX(COUNT(*)) OVER () AS most
          FROM JSON_TABLE(v_read, '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$[0]', slot INT PATH '$[3]')) AS head
         GROUP BY head.slot
      ) AS slots;
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (514, 'V0514__internal_examine_v1.sql');
