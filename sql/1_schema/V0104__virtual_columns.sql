SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

-- What claims, order and counting need, on top of the other columns. A lane is the stream of messages with one topic
-- and one message_key: the unit of order. All of them are virtual, and indexed (see the next file); NULL costs an index
-- entry of a few bytes.
--   pending_slot  the slot of a pending message
--   waits_for     of a pending message. 0: for nothing; it is in its slot's queue, which claims read in id order. 1: for a
--                 time, wakes_at. Otherwise: for the end of the pause with this id.
--   wakes_at      when a message that waits for 1 comes into the queue; the relay of its slot brings it there. After a
--                 failure, a requeue or with a delay this is next_retry_at. A fresh message has next_retry_at = created_at
--                 and waits for nothing, whatever the clock says. One that failed after the server's clock was set back
--                 is due at a time before its created_at. An adopted row whose created_at is NULL cannot be told to be
--                 fresh: it waits for its next_retry_at, if it has one. Where a message waits for no time this is a
--                 constant, so that the index has the messages in id order there.
--   open_lane     a hash of the lane, for all its messages that are not final: what must take effect before a later one
--                 may. Two lanes may share a hash, so a query that uses it compares topic and message_key too.
--   is_waiting    whether it waits for something, to find what holds back a lane without reading the rest of it
ALTER TABLE agent_outbox_messages
  ADD COLUMN pending_slot TINYINT UNSIGNED GENERATED ALWAYS AS
    (IF(status = _utf8mb4'pending', CRC32(message_key) % 64, NULL)) VIRTUAL,
  ADD COLUMN waits_for BIGINT UNSIGNED GENERATED ALWAYS AS
    (CASE
       WHEN status <> _utf8mb4'pending' THEN NULL
       WHEN noted_for <=> next_retry_at THEN COALESCE(parked_for, 0)
       WHEN next_retry_at > created_at OR retry_count > 0 OR (created_at IS NULL AND next_retry_at IS NOT NULL) THEN 1
       ELSE 0
     END) VIRTUAL,
  ADD COLUMN wakes_at DATETIME(6) GENERATED ALWAYS AS
    (CASE waits_for
       WHEN 0 THEN TIMESTAMP'2000-01-01 00:00:00'
       WHEN 1 THEN IF(noted_for <=> next_retry_at, parked_until, next_retry_at)
       ELSE IF(waits_for IS NULL, NULL, TIMESTAMP'2000-01-01 00:00:00')
     END) VIRTUAL,
  ADD COLUMN open_lane INT UNSIGNED GENERATED ALWAYS AS
    (IF(status IN (_utf8mb4'pending', _utf8mb4'published'), CRC32(CONCAT(topic, _utf8mb4':', message_key)), NULL)) VIRTUAL,
  ADD COLUMN is_waiting BOOLEAN GENERATED ALWAYS AS (COALESCE(waits_for > 0, FALSE)) VIRTUAL,
  ALGORITHM = INSTANT;

INSERT INTO outbox_migrations (version, file) VALUES (104, 'V0104__virtual_columns.sql');
