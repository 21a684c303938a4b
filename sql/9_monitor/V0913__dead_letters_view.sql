SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

-- outbox_dead_letters: the messages that have failed for good, and why. Without payload, headers and what errors quote,
-- because monitoring must not read what users wrote; outbox_list_dead_v1 and outbox_get_v1 show all of it to operators.
--
-- Columns
--   id, topic, biz_type, message_key   the message
--   retry_count, max_retry             failures, and how many it had been allowed
--   last_error                         why it failed, with an ellipsis for all from the first quotation mark to the last; to
--                                      the end where there is one only, or where the text was cut
--   origin                             the source of the record that it was received as; NULL: it is of this outbox
--   created_at, died_at                when it was enqueued and when it died, UTC
--
-- Read by: monitoring, operators. No locks.
--
-- Cost: reads the dead messages and no others, however the rows are sorted or limited. The index is forced because for
-- ORDER BY id LIMIT 10 the server would otherwise read the table from one end until it has found ten dead ones.
--
-- Example
--   mysql> SELECT id, topic, message_key, retry_count, last_error, died_at FROM outbox_dead_letters ORDER BY id LIMIT 1;
--   +----+-------+-------------+-------------+-----------------------------------------------+----------------------------+
--   | id | topic | message_key | retry_count | last_error                                    | died_at                    |
--   +----+-------+-------------+-------------+-----------------------------------------------+----------------------------+
--   |  7 | chat  | c-1         |           0 | user_id must be an integer, it is missing     | 2026-01-01 12:00:00.123456 |
--   +----+-------+-------------+-------------+-----------------------------------------------+----------------------------+
CREATE OR REPLACE SQL SECURITY DEFINER VIEW outbox_dead_letters AS
SELECT id,
       topic,
       biz_type,
       message_key,
       retry_count,
       max_retry,
       IF(CHAR_LENGTH(last_error) >= 2000,
          REGEXP_REPLACE(last_error, _utf8mb4'(?s)["''`].*$', _utf8mb4'…'),
          REGEXP_REPLACE(last_error, _utf8mb4'(?s)["''`](.*["''`]|.*$)', _utf8mb4'…')) AS last_error,
       origin->>'$.source' AS origin,
       created_at,
       updated_at AS died_at
  FROM agent_outbox_messages FORCE INDEX (idx_outbox_status_next)
 WHERE status = 'dead';

INSERT INTO outbox_migrations (version, file) VALUES (913, 'V0913__dead_letters_view.sql');
