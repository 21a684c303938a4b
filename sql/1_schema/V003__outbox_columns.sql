SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';

-- What claims, order and counting need, on top of the lineage's columns. A lane is the stream of messages with one
-- topic and one message_key: the unit of order. All three columns are virtual; NULL costs an index entry of
-- a few bytes, and two are indexed, together with id (InnoDB appends the primary key):
--   pending_slot  the relay's queue: read per slot from its head, in id order
--   open_lane     everything of a lane that is not final: what must take effect before a later message may
--   waits         pending again after a failure, a take-back, a requeue or a delay; a fresh message has
--                 next_retry_at = created_at and does not wait, whatever the clock says. One that failed after the
--                 server's clock was set back waits for a time before its created_at. An adopted row whose
--                 created_at is NULL cannot be told to be fresh and waits for its next_retry_at, if it has one.
-- The lineage's index gets the topic as its last column, so that outbox_status counts without reading messages.
--
-- An adopted table is written to meanwhile. Each step names its algorithm, so that a table that cannot be changed
-- online (a compressed one, or one with too many instant changes behind it) is refused instead of locked; rebuild it
-- first: ALTER TABLE agent_outbox_messages FORCE, ROW_FORMAT = DYNAMIC. The steps are three because virtual columns
-- are added at once neither together with another kind, before MySQL 8.0.29, nor together with their indexes.
-- Cut off in between, what the first steps added must go before this file can be applied again:
--   ALTER TABLE agent_outbox_messages DROP headers, DROP pending_slot, DROP open_lane, DROP waits;
ALTER TABLE agent_outbox_messages
  ADD COLUMN headers JSON NULL COMMENT 'Kafka headers of the message''s own: one object of strings',
  ALGORITHM = INSTANT;

ALTER TABLE agent_outbox_messages
  ADD COLUMN pending_slot TINYINT UNSIGNED GENERATED ALWAYS AS
    (IF(status = _utf8mb4'pending', CRC32(message_key) % 64, NULL)) VIRTUAL,
  ADD COLUMN open_lane INT UNSIGNED GENERATED ALWAYS AS
    (IF(status IN (_utf8mb4'pending', _utf8mb4'published'), CRC32(CONCAT(topic, _utf8mb4':', message_key)), NULL)) VIRTUAL,
  ADD COLUMN waits BOOLEAN GENERATED ALWAYS AS
    (IF(status = _utf8mb4'pending' AND (next_retry_at > created_at OR retry_count > 0 OR (created_at IS NULL AND next_retry_at IS NOT NULL)),
        TRUE, FALSE)) VIRTUAL,
  ALGORITHM = INSTANT;

ALTER TABLE agent_outbox_messages
  DROP KEY idx_outbox_status_next,
  ADD KEY idx_outbox_status_next (status, next_retry_at, biz_type, topic),
  ADD KEY outbox_pending_slot (pending_slot),
  ADD KEY outbox_open_lane (open_lane),
  ALGORITHM = INPLACE, LOCK = NONE;

INSERT INTO outbox_migrations (version, file) VALUES (3, 'V003__outbox_columns.sql');
