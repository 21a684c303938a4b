SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

-- outbox_topics_unavailable: the topics that Kafka takes no records for at the moment. Their messages wait, and no retry is
-- counted; a relay tries each topic again with one message.
--
-- Columns
--   topic
--   since         when Kafka first took no record, UTC
--   failures      how often in a row
--   reason        the last error of Kafka or its client
--   next_attempt  when a relay tries it again, UTC
--
-- Read by: relays, operators and monitoring. No locks.
--
-- Example
--   mysql> SELECT * FROM outbox_topics_unavailable;
--   +--------+----------------------------+----------+------------------------------+----------------------------+
--   | topic  | since                      | failures | reason                       | next_attempt               |
--   +--------+----------------------------+----------+------------------------------+----------------------------+
--   | orders | 2026-01-01 12:00:00.123456 |        3 | Broker: Leader not available | 2026-01-01 12:00:07.123456 |
--   +--------+----------------------------+----------+------------------------------+----------------------------+
CREATE OR REPLACE SQL SECURITY DEFINER VIEW outbox_topics_unavailable AS
SELECT name AS topic, paused_at AS since, failures, reason, retry_at AS next_attempt
  FROM outbox_pauses
 WHERE kind = 'trouble'
   AND resumed_at IS NULL;

INSERT INTO outbox_migrations (version, file) VALUES (917, 'V0917__topics_unavailable_view.sql');
