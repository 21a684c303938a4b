SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

-- Retention that needs no daemon: once a minute, deletes what was consumed more than 7 days ago, at most 100,000
-- messages, and as many dedup keys that are as old. It is shipped disabled; this enables it:
--   ALTER EVENT outbox_retention ENABLE;
-- and this keeps messages for 30 days instead:
--   ALTER EVENT outbox_retention DO CALL outbox_retain_v1(30 * 86400, 100000);
-- It runs with the rights of the account that applied this file, where event_scheduler is ON (the default). A run
-- may take longer than a minute: the next one leaves out what it has locked.
DROP EVENT IF EXISTS outbox_retention;

DELIMITER $$

CREATE EVENT outbox_retention
  ON SCHEDULE EVERY 1 MINUTE
  DISABLE
  COMMENT 'outboxd: purges consumed messages after 7 days; ALTER EVENT outbox_retention ENABLE'
  DO BEGIN
    CALL outbox_retain_v1(7 * 86400, 100000);
  END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (824, 'V0824__retention.sql');
