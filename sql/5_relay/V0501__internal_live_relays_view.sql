SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

-- outbox_internal_live_relays: the relays whose lease has not run out, by this server's clock: who may own slots.
-- Internal: every test of a lease goes through this view, but the one of outbox_heartbeat_v1, which repeats it.
--
-- Columns
--   relay          the relay's name
--   lease_until    when its lease runs out, UTC
--   lease_seconds  the lease that it asked for
--
-- Example
--   mysql> SELECT * FROM outbox_internal_live_relays;
--   +---------+----------------------------+---------------+
--   | relay   | lease_until                | lease_seconds |
--   +---------+----------------------------+---------------+
--   | relay-a | 2026-01-01 12:00:30.000000 |            30 |
--   +---------+----------------------------+---------------+
CREATE OR REPLACE SQL SECURITY DEFINER VIEW outbox_internal_live_relays AS
SELECT relay, lease_until, lease_seconds
  FROM outbox_relays
 WHERE UTC_TIMESTAMP(6) BETWEEN lease_from AND lease_until;

INSERT INTO outbox_migrations (version, file) VALUES (501, 'V0501__internal_live_relays_view.sql');
