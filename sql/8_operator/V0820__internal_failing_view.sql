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
CREATE OR REPLACE SQL SECURITY DEFINER VIEW outbox_internal_failing AS
SELECT m.id,
       m.topic,
       m.biz_type,
       m.message_key,
       m.retry_count,
       m.max_retry,
       m.last_error,
       (SELECT MIN(f.at)
          FROM outbox_failures AS f
         WHERE f.message_id = m.id
           AND f.failure + m.retry_count > (SELECT MAX(l.failure) FROM outbox_failures AS l WHERE l.message_id = m.id)) AS failing_since,
       m.next_retry_at,
       m.created_at,
       m.updated_at,
       IF(EXISTS (SELECT 1 FROM outbox_biz_types AS t WHERE t.biz_type = m.biz_type AND t.ordering = _utf8mb4'none'), 0, (
         SELECT COUNT(*)
           FROM (
             SELECT 1
               FROM agent_outbox_messages AS follower FORCE INDEX (outbox_open_lane)
              WHERE follower.open_lane = m.open_lane
                AND follower.id > m.id
                AND follower.topic = m.topic
                AND follower.message_key = m.message_key
              LIMIT 1000
           ) AS held)) AS followers
  FROM agent_outbox_messages AS m
 WHERE m.status = _utf8mb4'pending'
   AND m.retry_count > 0;

INSERT INTO outbox_migrations (version, file) VALUES (820, 'V0820__internal_failing_view.sql');
