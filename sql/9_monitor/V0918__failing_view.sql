SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

-- outbox_failing: the messages that have failed, are pending again and wait for their retry. Without payload, headers and
-- what errors quote, as outbox_dead_letters; outbox_list_failing_v1 shows all of it to operators.
--
-- Columns
--   id, topic, biz_type, message_key   the message
--   origin                             the source of the record that it was received as; NULL: it is of this outbox
--   retry_count, max_retry             failures so far, and how many it is allowed
--   last_error                         why it failed last, with an ellipsis for what is quoted, see outbox_dead_letters
--   failing_since                      the first of these failures, UTC; NULL: the legacy Go service has counted them
--   next_retry_at                      when it is tried again, UTC
--   followers                          how many later messages of its topic and key it holds back, counted up to 1000
--   created_at                         when it was enqueued, UTC
--
-- Read by: monitoring, operators. No locks.
--
-- Cost: reads the failing messages, in an index that has all pending ones, and for each row up to 1000 of its lane.
--
-- Example
--   mysql> SELECT id, topic, message_key, retry_count, last_error, followers FROM outbox_failing ORDER BY id LIMIT 1;
--   +----+-------+-------------+-------------+-----------------------------+-----------+
--   | id | topic | message_key | retry_count | last_error                  | followers |
--   +----+-------+-------------+-------------+-----------------------------+-----------+
--   |  7 | chat  | c-1         |           4 | chat_histories is read only |        12 |
--   +----+-------+-------------+-------------+-----------------------------+-----------+
CREATE OR REPLACE SQL SECURITY DEFINER VIEW outbox_failing AS
SELECT id,
       topic,
       biz_type,
       message_key,
       origin,
       retry_count,
       max_retry,
       IF(CHAR_LENGTH(last_error) >= 2000,
          REGEXP_REPLACE(last_error, _utf8mb4'(?s)["''`].*$', _utf8mb4'…'),
          REGEXP_REPLACE(last_error, _utf8mb4'(?s)["''`](.*["''`]|.*$)', _utf8mb4'…')) AS last_error,
       failing_since,
       next_retry_at,
       followers,
       created_at
  FROM outbox_internal_failing;

INSERT INTO outbox_migrations (version, file) VALUES (918, 'V0918__failing_view.sql');
