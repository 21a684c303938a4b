SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

-- What claims, order and counting need, on top of the legacy columns. A lane is the stream of messages with one topic
-- and one message_key: the unit of order. All three columns are virtual. The first two are indexed (see the next file);
-- NULL costs an index entry of a few bytes.
--   pending_slot  the relay's queue: read per slot from its head, in id order
--   open_lane     a hash of the lane, for all its messages that are not final: what must take effect before a later one
--                 may. Two lanes may share a hash, so a query that uses it compares topic and message_key too.
--   is_delayed    pending again after a failure, a requeue or a delay. A fresh message has next_retry_at = created_at
--                 and is not delayed, whatever the clock says. One that failed after the server's clock was set back is
--                 due at a time before its created_at. An adopted row whose created_at is NULL cannot be told to be
--                 fresh: it is delayed until its next_retry_at, if it has one.
ALTER TABLE agent_outbox_messages
  ADD COLUMN pending_slot TINYINT UNSIGNED GENERATED ALWAYS AS
    (IF(status = _utf8mb4'pending', CRC32(message_key) % 64, NULL)) VIRTUAL,
  ADD COLUMN open_lane INT UNSIGNED GENERATED ALWAYS AS
    (IF(status IN (_utf8mb4'pending', _utf8mb4'published'), CRC32(CONCAT(topic, _utf8mb4':', message_key)), NULL)) VIRTUAL,
  ADD COLUMN is_delayed BOOLEAN GENERATED ALWAYS AS
    (IF(status = _utf8mb4'pending' AND (next_retry_at > created_at OR retry_count > 0 OR (created_at IS NULL AND next_retry_at IS NOT NULL)),
        TRUE, FALSE)) VIRTUAL,
  ALGORITHM = INSTANT;

INSERT INTO outbox_migrations (version, file) VALUES (104, 'V0104__virtual_columns.sql');
