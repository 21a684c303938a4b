SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

-- An adopted table is written to meanwhile, so each of the next three files is one ALTER TABLE that names its algorithm:
-- a table that cannot be changed online (a compressed one, or one with too many instant changes behind it) fails
-- instead of being locked. Rebuild it first: ALTER TABLE agent_outbox_messages FORCE, ROW_FORMAT = DYNAMIC.
-- They are three because MySQL adds virtual columns instantly only by themselves: not together with another kind of
-- column (before 8.0.29), nor together with their indexes. Each can be applied again on its own if it gave up.
ALTER TABLE agent_outbox_messages
  ADD COLUMN headers JSON NULL COMMENT 'Kafka headers of the message''s own: one object of strings',
  ALGORITHM = INSTANT;

INSERT INTO outbox_migrations (version, file) VALUES (103, 'V0103__headers_column.sql');
