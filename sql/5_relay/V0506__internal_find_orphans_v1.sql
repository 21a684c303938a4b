SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_find_orphans_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_find_orphans_v1 (
  IN p_relay VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  OUT p_orphans JSON
)
COMMENT '
Finds messages of the relay''s slots that wait for a pause that is not there, because somebody has deleted its row by hand.
It asks each slot for the next pause that messages wait for, so how many wait does not matter.
Internal: outbox_internal_wake_v1 calls it.

Parameters
  p_relay VARCHAR(128): the relay
  OUT p_orphans JSON: [[id, lane], ...], with lane as in open_lane; NULL: there are none

Owns its transaction (READ UNCOMMITTED: otherwise the search for a slot''s next pause goes through all that is not
committed in the next slot); changes nothing.

Example
  mysql> CALL outbox_internal_find_orphans_v1(''relay-a'', @orphans);
'
SQL SECURITY DEFINER
READS SQL DATA
BEGIN
  DECLARE v_slots INT DEFAULT 64;
  DECLARE v_slot INT DEFAULT 0;
  DECLARE v_pause BIGINT UNSIGNED;
  DECLARE v_found JSON;

  SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED;
  START TRANSACTION;
  WHILE v_slot < v_slots DO
    IF EXISTS (SELECT 1 FROM outbox_slots AS s WHERE s.slot = v_slot AND s.relay = p_relay) THEN
      SET v_pause = 1;
      next_pause: LOOP
        SELECT /*+ SET_VAR(sql_big_selects = 1) */ MIN(m.waits_for)
          INTO v_pause
          FROM agent_outbox_messages AS m FORCE INDEX (outbox_pending_slot)
         WHERE m.pending_slot = v_slot
           AND m.waits_for > v_pause;
        IF v_pause IS NULL THEN
          LEAVE next_pause;
        END IF;
        IF NOT EXISTS (SELECT 1 FROM outbox_pauses AS p WHERE p.id = v_pause) THEN
          SELECT /*+ SET_VAR(sql_big_selects = 1) */ JSON_ARRAYAGG(JSON_ARRAY(m.id, m.open_lane))
            INTO v_found
            FROM agent_outbox_messages AS m FORCE INDEX (outbox_pending_slot)
           WHERE m.pending_slot = v_slot
             AND m.waits_for = v_pause;
          SET p_orphans = COALESCE(JSON_MERGE_PRESERVE(p_orphans, v_found), v_found, p_orphans);
        END IF;
      END LOOP;
    END IF;
    SET v_slot = v_slot + 1;
  END WHILE;
  COMMIT AND NO CHAIN NO RELEASE;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (506, 'V0506__internal_find_orphans_v1.sql');
