SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

-- outbox_internal_failing: the messages that have failed, are pending again and wait for their retry: the one definition of
-- failing. outbox_failing and outbox_list_failing_v1 read it.
--
-- Columns
--   those of agent_outbox_messages that tell of it
--   failing_since  the first of the failures that it counts now, UTC; NULL: the legacy Go service has counted them
--   followers      how many later messages of its lane it holds back, counted up to 1000
--
-- Joins, and no subqueries among the columns: only so MySQL merges the view, and reads no more than is asked for. The
-- indexes: by status where all are read, by id where they are chosen already.
CREATE OR REPLACE SQL SECURITY DEFINER VIEW outbox_internal_failing AS
SELECT m.id,
       m.topic,
       m.biz_type,
       m.message_key,
       m.origin->>'$.source' AS origin,
       m.retry_count,
       m.max_retry,
       m.last_error,
       first_failure.failing_since,
       m.next_retry_at,
       m.created_at,
       behind.followers
  FROM agent_outbox_messages AS m FORCE INDEX FOR JOIN (PRIMARY, idx_outbox_status_next) IGNORE INDEX FOR ORDER BY (PRIMARY)
  JOIN LATERAL (
    SELECT MIN(f.at) AS failing_since
      FROM outbox_failures AS f
     WHERE f.message_id = m.id
       AND f.failure + m.retry_count > (SELECT MAX(l.failure) FROM outbox_failures AS l WHERE l.message_id = m.id)
  ) AS first_failure
  JOIN LATERAL (
    SELECT COUNT(*) AS followers
      FROM (
        SELECT 1
          FROM agent_outbox_messages AS follower FORCE INDEX (outbox_open_lane)
         WHERE follower.open_lane = m.open_lane
           AND follower.id > m.id
           AND follower.topic = m.topic
           AND follower.message_key = m.message_key
           AND NOT EXISTS (SELECT 1 FROM outbox_biz_types AS t WHERE t.biz_type = m.biz_type AND t.ordering = _utf8mb4'none')
         LIMIT 1000
      ) AS held
  ) AS behind
 WHERE m.status = _utf8mb4'pending'
   AND m.retry_count > 0;

INSERT INTO outbox_migrations (version, file) VALUES (820, 'V0820__internal_failing_view.sql');
