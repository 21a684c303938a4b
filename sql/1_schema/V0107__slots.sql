SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

-- Who relays what. A message's slot is CRC32(message_key) % 64; a relay owns slots as a consumer owns partitions. The
-- lease is the relay's, by this server's clock. A slot is free when it has no relay, or when its relay's lease has run
-- out. A lease is good from lease_from to lease_until. One that ends later than a lease taken now would end is from before
-- the clock was set back: it has run out, too. lease_from leaves twice the lease, because clocks are also adjusted by a
-- little, and two sessions may write in another order than that in which they read the clock.
CREATE TABLE outbox_relays (
  relay       VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
  lease_until DATETIME(6) NOT NULL,
  lease_seconds INT UNSIGNED NOT NULL DEFAULT 86400,
  lease_from  DATETIME(6) GENERATED ALWAYS AS (lease_until - INTERVAL 2 * lease_seconds SECOND) VIRTUAL,
  joined_at   DATETIME(6) NOT NULL,
  PRIMARY KEY (relay)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC COMMENT = 'outboxd: relays and their leases';

CREATE TABLE outbox_slots (
  slot  TINYINT UNSIGNED NOT NULL,
  relay VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NULL,
  PRIMARY KEY (slot)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC COMMENT = 'outboxd: the 64 slots and their owners';

INSERT INTO outbox_slots (slot)
WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < 63)
SELECT n FROM numbers;

INSERT INTO outbox_migrations (version, file) VALUES (107, 'V0107__slots.sql');
