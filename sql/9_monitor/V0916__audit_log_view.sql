SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

-- outbox_audit_log: what operators did to the outbox, and who, and when.
--
-- Columns
--   id        ascends with time
--   at        by this server's clock, UTC
--   account   as it logged in, USER()
--   action    the routine, without outbox_ and _v<n>
--   messages  how many messages changed; NULL where the action is not about messages
--   details   JSON: the arguments that were given, and what changed; never a payload
--
-- Read by: operators. No locks.
--
-- Example
--   mysql> SELECT * FROM outbox_audit_log ORDER BY id DESC LIMIT 1;
--   +----+----------------------------+--------------+---------+----------+----------------------------+
--   | id | at                         | account      | action  | messages | details                    |
--   +----+----------------------------+--------------+---------+----------+----------------------------+
--   |  1 | 2026-01-01 12:00:00.123456 | ada@10.1.2.3 | requeue |        1 | {"id": 7, "messages": 1}   |
--   +----+----------------------------+--------------+---------+----------+----------------------------+
CREATE OR REPLACE SQL SECURITY DEFINER VIEW outbox_audit_log AS
SELECT id, at, account, action, CAST(JSON_EXTRACT(details, '$.messages') AS UNSIGNED) AS messages, details
  FROM outbox_audit;

INSERT INTO outbox_migrations (version, file) VALUES (916, 'V0916__audit_log_view.sql');
