SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_share_slots_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_share_slots_v1 (
  IN p_relay VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_lease_seconds INT,
  OUT p_owned INT,
  OUT p_has_changed BOOLEAN
)
COMMENT '
A relay''s heartbeat and its share of the slots: renews the lease, gives surplus slots back, and takes slots that have
no relay, or one whose lease has run out, up to the fair share of the relays alive.
Internal: outbox_claim_v1 calls it at the start of a round, when the relay has nothing in flight.

Parameters
  p_relay VARCHAR(128): the relay
  p_lease_seconds INT: the lease from now, in seconds of this server''s clock
  OUT p_owned INT: how many of the 64 slots the relay now owns
  OUT p_has_changed BOOLEAN: whether these may be others than before

Owns its transaction (READ COMMITTED). Locks: the relay, then slots by ascending number. Writes, and so commits
to disk, only when a third of the lease has passed or slots change hands.

Example
  mysql> CALL outbox_internal_share_slots_v1(''relay-a'', 30, @owned, @has_changed);
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_slots INT DEFAULT 64;
  DECLARE v_forgotten_after_hours INT DEFAULT 1;
  DECLARE v_now DATETIME(6) DEFAULT UTC_TIMESTAMP(6);
  DECLARE v_lease_until DATETIME(6);
  DECLARE v_alive, v_before, v_free, v_change, v_surplus INT;
  DECLARE v_alive_relays JSON;
  DECLARE v_is_over BOOLEAN;
  DECLARE v_is_locked BOOLEAN DEFAULT FALSE;

  SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
  START TRANSACTION;

  SELECT MAX(lease_until), COALESCE(MAX(v_now NOT BETWEEN lease_from AND lease_until), FALSE)
    INTO v_lease_until, v_is_over
    FROM outbox_relays
   WHERE relay = p_relay;

  IF v_lease_until IS NULL
    OR v_lease_until NOT BETWEEN v_now + INTERVAL p_lease_seconds * 2000000 DIV 3 MICROSECOND AND v_now + INTERVAL p_lease_seconds SECOND THEN
    INSERT INTO outbox_relays (relay, lease_until, lease_seconds, joined_at)
    VALUES (p_relay, v_now + INTERVAL p_lease_seconds SECOND, p_lease_seconds, v_now)
    ON DUPLICATE KEY UPDATE lease_until = v_now + INTERVAL p_lease_seconds SECOND, lease_seconds = p_lease_seconds;
  END IF;

  -- The first 64 MOD n relays by name have one slot more, so that shares are exact without talking to each other.
  -- Looking takes no locks. A relay that has something to change looks again with all slots locked: by then, what
  -- another relay has changed, and that it is alive, is committed. The wait for the locks may have been long: the view
  -- reads the clock anew.
  look: LOOP
    SELECT COUNT(*), COALESCE(SUM(relay < p_relay), 0), JSON_ARRAYAGG(relay)
      INTO v_alive, v_before, v_alive_relays
      FROM (SELECT relay FROM outbox_internal_live_relays UNION SELECT p_relay) AS alive;
    SELECT COUNT(IF(relay = p_relay, 1, NULL)), COUNT(IF(relay IS NULL OR NOT JSON_CONTAINS(v_alive_relays, JSON_QUOTE(relay)), 1, NULL))
      INTO p_owned, v_free
      FROM outbox_slots;
    SET v_change = v_slots DIV v_alive + (v_before < v_slots MOD v_alive) - p_owned;
    IF v_is_locked OR (NOT v_is_over AND (v_change = 0 OR (v_change > 0 AND v_free = 0))) THEN
      LEAVE look;
    END IF;
    SELECT COUNT(*) > 0 INTO v_is_locked FROM outbox_slots FOR UPDATE;
    IF v_is_over THEN
      -- Too late, or the clock was set back: others may have been taking these slots. Join anew, as everybody else would.
      UPDATE /*+ SET_VAR(sql_safe_updates = 0) */ outbox_slots SET relay = NULL WHERE relay = p_relay ORDER BY slot;
    END IF;
  END LOOP;

  IF v_change < 0 THEN
    SET v_surplus = -v_change;
    UPDATE /*+ SET_VAR(sql_safe_updates = 0) */ outbox_slots
       SET relay = NULL
     WHERE relay = p_relay
     ORDER BY slot
     LIMIT v_surplus;
    SET p_owned = p_owned - ROW_COUNT();
  ELSEIF v_change > 0 AND v_free > 0 THEN
    UPDATE /*+ SET_VAR(sql_safe_updates = 0) */ outbox_slots
       SET relay = p_relay
     WHERE relay IS NULL
        OR NOT JSON_CONTAINS(v_alive_relays, JSON_QUOTE(relay))
     ORDER BY slot
     LIMIT v_change;
    SET p_owned = p_owned + ROW_COUNT();
  END IF;
  COMMIT AND NO CHAIN NO RELEASE;

  SET p_has_changed = v_is_locked;
  -- In a transaction of its own, after all locks are given back.
  IF v_is_locked THEN
    DELETE /*+ SET_VAR(sql_safe_updates = 0) */ FROM outbox_relays WHERE UTC_TIMESTAMP(6) NOT BETWEEN lease_from AND lease_until + INTERVAL v_forgotten_after_hours HOUR;
    COMMIT AND NO CHAIN NO RELEASE;
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (504, 'V0504__internal_share_slots_v1.sql');
