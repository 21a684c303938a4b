SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

-- The legacy index gets the topic, so that the view outbox_status counts without reading messages, and retry_count, so that
-- what fails is found among what is pending without reading that.
-- InnoDB appends the primary key to every index: what both new ones have equal in their columns is in id order.
ALTER TABLE agent_outbox_messages
  DROP KEY idx_outbox_status_next,
  ADD KEY idx_outbox_status_next (status, next_retry_at, biz_type, topic, retry_count),
  ADD KEY outbox_pending_slot (pending_slot, waits_for, wakes_at),
  ADD KEY outbox_open_lane (open_lane, is_waiting),
  ALGORITHM = INPLACE, LOCK = NONE;

INSERT INTO outbox_migrations (version, file) VALUES (105, 'V0105__indexes.sql');
