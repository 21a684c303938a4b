SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';

-- What claims and order need, on top of the lineage's columns. A lane is the stream of messages with one
-- topic and one message_key: the unit of order. All three columns are virtual, NULL costs an index entry of
-- a few bytes, and each is indexed together with id (InnoDB appends the primary key):
--   pending_slot  the relay's queue: read per slot from its head, in id order
--   open_lane     everything of a lane that is not final: what must take effect before a later message may
--   waiting_lane  pending again after a failure, a take-back, a requeue or a delay; a fresh message has
--                 next_retry_at = created_at and never enters, so that this index is nearly empty
ALTER TABLE agent_outbox_messages
  ADD COLUMN headers JSON NULL COMMENT 'Kafka headers of the message''s own: one object of strings',
  ADD COLUMN pending_slot TINYINT UNSIGNED GENERATED ALWAYS AS
    (IF(status = _utf8mb4'pending', CRC32(message_key) % 64, NULL)) VIRTUAL,
  ADD COLUMN open_lane INT UNSIGNED GENERATED ALWAYS AS
    (IF(status IN (_utf8mb4'pending', _utf8mb4'published'), CRC32(CONCAT(topic, _utf8mb4':', message_key)), NULL)) VIRTUAL,
  ADD COLUMN waiting_lane INT UNSIGNED GENERATED ALWAYS AS
    (IF(status = _utf8mb4'pending' AND next_retry_at > created_at, CRC32(CONCAT(topic, _utf8mb4':', message_key)), NULL)) VIRTUAL;

ALTER TABLE agent_outbox_messages
  ADD KEY outbox_pending_slot (pending_slot),
  ADD KEY outbox_open_lane (open_lane),
  ADD KEY outbox_waiting_lane (waiting_lane);

INSERT INTO outbox_migrations (version, file) VALUES (3, 'V003__outbox_columns.sql');
