SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

-- The built-in business type: consuming one of its messages writes a row of chat_histories.
INSERT INTO outbox_biz_types (biz_type, handler, batch_handler)
VALUES ('chat_history_persist', 'outbox_internal_write_chat_history_v1', 'outbox_internal_write_chat_histories_v1');

INSERT INTO outbox_migrations (version, file) VALUES (703, 'V0703__chat_biz_type.sql');
