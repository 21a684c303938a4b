SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

-- An adopted table is written to meanwhile, so each of the next three files is one ALTER TABLE that names its algorithm:
-- a table that cannot be changed online (a compressed one, or one with too many instant changes behind it) fails
-- instead of being locked. Rebuild it first: ALTER TABLE agent_outbox_messages FORCE, ROW_FORMAT = DYNAMIC.
-- They are three because MySQL adds virtual columns instantly only by themselves: not together with another kind of
-- column (before 8.0.29), nor together with their indexes. Each can be applied again on its own if it gave up.
--
-- What keeps a pending message out of the relay's queue follows from its times (see the next file), but for two things that
-- a relay finds out: that a delayed message has become due, and that a message has to wait for another one or for a pause.
-- The relay that owns its slot notes them in the last three columns. A note holds for one next_retry_at: whatever brings
-- the message back to pending sets another, and thereby makes the note void. So no transition has to clear it.
ALTER TABLE agent_outbox_messages
  ADD COLUMN headers JSON NULL COMMENT 'Kafka headers of the message''s own: one object of strings',
  ADD COLUMN content_type VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NULL COMMENT 'NULL: the record''s value is payload, otherwise it is body, which has this content type, or none if empty',
  ADD COLUMN body LONGBLOB NULL COMMENT 'where content_type is given: the bytes that are sent, NULL: a tombstone',
  ADD COLUMN dedup_key VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NULL COMMENT 'as it was enqueued with, outbox_dedup_keys holds it unique',
  ADD COLUMN kafka_partition INT NULL COMMENT 'where its record is, of several the last that was heard of, NULL: not known',
  ADD COLUMN kafka_offset BIGINT NULL,
  ADD COLUMN origin JSON NULL COMMENT 'of a message that was received from others: source, id, type, time, topic, partition, offset, content_type of its record',
  ADD COLUMN noted_for DATETIME(6) NULL COMMENT 'the next_retry_at for which parked_for and parked_until hold',
  ADD COLUMN parked_for BIGINT UNSIGNED NULL COMMENT 'NULL: for nothing, 1: for an earlier message of its lane, otherwise: for the pause with this id',
  ADD COLUMN parked_until DATETIME(6) NULL COMMENT 'when a message that is parked for 1 comes back into the queue',
  ALGORITHM = INSTANT;

INSERT INTO outbox_migrations (version, file) VALUES (103, 'V0103__own_columns.sql');
