SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;
-- A transaction that has called the routine keeps it until its end, and whoever calls it next would wait behind this.

-- First, so that no daemon which needs the routine starts from here on.
UPDATE outbox_migrations SET dropped_by = 'V1302__post_enqueue_v1.sql' WHERE version = 303;

DROP PROCEDURE IF EXISTS outbox_enqueue_v1;

INSERT INTO outbox_migrations (version, file) VALUES (1302, 'V1302__post_enqueue_v1.sql');
