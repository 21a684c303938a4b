SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';

DROP PROCEDURE IF EXISTS outbox_share_slots_v1;

DELIMITER $$

CREATE PROCEDURE outbox_share_slots_v1 (
  IN p_relay VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_lease_seconds INT,
  OUT p_owned INT
)
COMMENT '
The heartbeat of a relay and its share of the slots: renews the lease, gives surplus slots back, takes slots that
are free or whose relay''s lease has run out, up to the fair share of the relays alive.
Internal: outbox_claim_v1 calls it at the start of a round, when the relay has nothing in flight.

Parameters
  p_relay VARCHAR(128): the relay
  p_lease_seconds INT: the lease, by this server''s clock
  OUT p_owned INT: how many of the 64 slots the relay now owns

Owns its transaction (READ COMMITTED). Locks: the relay, then slots by ascending number. Writes, and so commits
to disk, only when a third of the lease is gone or slots change hands.

Example
  mysql> CALL outbox_share_slots_v1(''relay-a'', 30, @owned);
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_now DATETIME(6) DEFAULT UTC_TIMESTAMP(6);
  DECLARE v_lease_until DATETIME(6);
  DECLARE v_alive, v_before, v_share, v_change INT;

  SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
  START TRANSACTION;

  SELECT MAX(lease_until) INTO v_lease_until FROM outbox_relays WHERE relay = p_relay;

  IF v_lease_until <= v_now THEN
    -- Too late: others may be taking these slots at this moment. Join anew, as everybody else would.
    UPDATE outbox_slots SET relay = NULL WHERE relay = p_relay ORDER BY slot;
  END IF;
  IF v_lease_until IS NULL OR v_lease_until < v_now + INTERVAL p_lease_seconds * 2 / 3 SECOND THEN
    INSERT INTO outbox_relays (relay, lease_until, joined_at)
    VALUES (p_relay, v_now + INTERVAL p_lease_seconds SECOND, v_now)
    ON DUPLICATE KEY UPDATE lease_until = v_now + INTERVAL p_lease_seconds SECOND;
  END IF;

  -- The first 64 MOD n relays by name have one slot more, so that shares are exact without talking to each other.
  SELECT COUNT(*), COALESCE(SUM(relay < p_relay), 0)
    INTO v_alive, v_before
    FROM outbox_relays
   WHERE lease_until > v_now;
  SET v_share = 64 DIV v_alive + (v_before < 64 MOD v_alive);
  SELECT COUNT(*) INTO p_owned FROM outbox_slots WHERE relay = p_relay;

  IF p_owned > v_share THEN
    SET v_change = p_owned - v_share;
    UPDATE outbox_slots
       SET relay = NULL
     WHERE relay = p_relay
     ORDER BY slot
     LIMIT v_change;
    SET p_owned = v_share;
  ELSEIF p_owned < v_share AND EXISTS (
      SELECT 1
        FROM outbox_slots AS s
        LEFT JOIN outbox_relays AS r ON r.relay = s.relay AND r.lease_until > v_now
       WHERE r.relay IS NULL) THEN
    SET v_change = v_share - p_owned;
    UPDATE outbox_slots
       SET relay = p_relay
     WHERE NOT EXISTS (
         SELECT 1 FROM outbox_relays AS r WHERE r.relay = outbox_slots.relay AND r.lease_until > v_now)
     ORDER BY slot
     LIMIT v_change;
    SET p_owned = p_owned + ROW_COUNT();
    DELETE FROM outbox_relays WHERE lease_until < v_now - INTERVAL 1 HOUR;
  END IF;

  COMMIT;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (30, 'V030__share_slots_v1.sql');
