SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_slots_owned_v1;

DELIMITER $$

CREATE PROCEDURE outbox_slots_owned_v1 (
  IN p_relay VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  OUT p_slots INT
)
COMMENT '
Tells how many slots a relay owns under a live lease. A relay loses its slots all at once, when its lease runs out, and
takes slots only when it claims. So after a mark that changed fewer messages than given, 0 means that the fence has
stopped it, and anything else that the consumer was faster.

Parameters
  p_relay VARCHAR(128): the relay
  OUT p_slots INT: from 0 to 64; 0 for a relay that is not known

Called by: relays. Reads only, no locks; transaction: the caller''s.

Example
  mysql> CALL outbox_slots_owned_v1(''relay-a'', @slots);
  mysql> SELECT @slots;
  +--------+
  | @slots |
  +--------+
  |     32 |
  +--------+
'
SQL SECURITY DEFINER
READS SQL DATA
BEGIN
  SELECT COUNT(*)
    INTO p_slots
    FROM outbox_slots AS s
   WHERE s.relay = p_relay
     AND EXISTS (SELECT 1 FROM outbox_internal_live_relays AS l WHERE l.relay = p_relay);
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (502, 'V0502__slots_owned_v1.sql');
