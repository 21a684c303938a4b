SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

-- outbox_policies: the business types with their policies, and what is paused.
--
-- Columns
--   kind                  biz_type or topic
--   name                  the business type; or a topic, where it is paused
--   handler               of a registered business type that has one; NULL otherwise: it is publish-only, Kafka's
--                         acknowledgement consumes its messages
--   ordering, max_retry, backoff_base_seconds, backoff_cap_seconds
--                         of a registered business type (outbox_register_biz_type_v1); NULL otherwise
--   batch_handler         of a registered business type that has one (outbox_register_batch_handler_v1); NULL otherwise
--   paused_at             since when it is paused (outbox_pause_v1), UTC; NULL: it is not
--   paused_by             by whom
--   resumed_at            since when its messages are on their way back to the queue (outbox_resume_v1), UTC; NULL: they are not
--   parked                how many of its messages wait outside of the queue; NULL: there is no pause
--
-- Read by: operators, monitoring. No locks. Cost: counts the entries of the index, 0.15 s for a million messages that are parked.
--
-- Example
--   mysql> SELECT kind, name, ordering, max_retry, paused_at, paused_by FROM outbox_policies;
--   +----------+----------------------+----------+-----------+----------------------------+--------------+
--   | kind     | name                 | ordering | max_retry | paused_at                  | paused_by    |
--   +----------+----------------------+----------+-----------+----------------------------+--------------+
--   | biz_type | chat_history_persist | key      |      NULL | NULL                       | NULL         |
--   | topic    | chat                 | NULL     |      NULL | 2026-01-01 12:00:00.123456 | ada@10.1.2.3 |
--   +----------+----------------------+----------+-----------+----------------------------+--------------+
CREATE OR REPLACE SQL SECURITY DEFINER VIEW outbox_policies AS
SELECT 'biz_type' AS kind, t.biz_type AS name, t.handler, t.batch_handler, t.ordering, t.max_retry, t.backoff_base_seconds, t.backoff_cap_seconds,
       IF(p.resumed_at IS NULL, p.paused_at, NULL) AS paused_at, IF(p.resumed_at IS NULL, p.paused_by, NULL) AS paused_by,
       p.resumed_at, parked.messages AS parked
  FROM outbox_biz_types AS t
  LEFT JOIN outbox_pauses AS p ON p.kind = 'biz_type' AND p.name = t.biz_type
  LEFT JOIN LATERAL (
    SELECT COUNT(*) AS messages
      FROM outbox_slots AS s
      STRAIGHT_JOIN agent_outbox_messages AS m FORCE INDEX (outbox_pending_slot) ON m.pending_slot = s.slot AND m.waits_for = p.id
    HAVING p.id IS NOT NULL
  ) AS parked ON TRUE
 UNION ALL
SELECT p.kind, p.name, NULL, NULL, NULL, NULL, NULL, NULL,
       IF(p.resumed_at IS NULL, p.paused_at, NULL), IF(p.resumed_at IS NULL, p.paused_by, NULL), p.resumed_at, parked.messages
  FROM outbox_pauses AS p
  JOIN LATERAL (
    SELECT COUNT(*) AS messages
      FROM outbox_slots AS s
      STRAIGHT_JOIN agent_outbox_messages AS m FORCE INDEX (outbox_pending_slot) ON m.pending_slot = s.slot AND m.waits_for = p.id
  ) AS parked
 WHERE p.kind <> 'trouble'
   AND NOT EXISTS (SELECT 1 FROM outbox_biz_types AS t WHERE p.kind = 'biz_type' AND t.biz_type = p.name);

INSERT INTO outbox_migrations (version, file) VALUES (915, 'V0915__policies_view.sql');
