SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_leave_v1;

DELIMITER $$

CREATE PROCEDURE outbox_leave_v1 (
  IN p_relay VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin
)
COMMENT '
A relay leaves: all its slots are free at once, not only at the end of its lease. For a clean shutdown, after the
last mark. Harmless for a relay that is not known.

Parameters
  p_relay VARCHAR(128): the relay

Called by: relays. Transaction: the caller''s. Locks: the relay, then its slots by ascending number.

Example
  mysql> CALL outbox_leave_v1(''relay-a'');
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DELETE FROM outbox_relays WHERE relay = p_relay;
  UPDATE /*+ SET_VAR(sql_safe_updates = 0) */ outbox_slots SET relay = NULL WHERE relay = p_relay ORDER BY slot;
  SET @outbox_claimer = NULL;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (532, 'V0532__leave_v1.sql');
