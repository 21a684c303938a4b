SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_heartbeat_v1;

DELIMITER $$

CREATE PROCEDURE outbox_heartbeat_v1 (
  IN p_relay VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_lease_seconds INT
)
COMMENT '
Renews a relay''s lease without claiming: for a relay that waits long for acknowledgements, as in an outage of the
brokers. A lease that has already run out is not renewed.

Parameters
  p_relay VARCHAR(128): the relay
  p_lease_seconds INT: the lease from now, by this server''s clock; NULL: 30

Called by: relays. Transaction: the caller''s; one UPDATE, atomic under autocommit.

Example
  mysql> CALL outbox_heartbeat_v1(''relay-a'', 30);
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_lease_seconds INT DEFAULT COALESCE(p_lease_seconds, 30);
  -- The condition of outbox_internal_live_relays, through which no UPDATE is possible where the session does not merge views.
  UPDATE outbox_relays
     SET lease_until = UTC_TIMESTAMP(6) + INTERVAL v_lease_seconds SECOND,
         lease_seconds = v_lease_seconds
   WHERE relay = p_relay
     AND UTC_TIMESTAMP(6) BETWEEN lease_from AND lease_until;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (531, 'V0531__heartbeat_v1.sql');
