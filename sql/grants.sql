-- Rights: five roles, each with EXECUTE on its procedures or SELECT on its views, and nothing else. Apply it after the
-- migrations, and again after every upgrade. It only adds, and may be run at any time:
--
--   mysql DATABASE < sql/grants.sql
--
-- Roles belong to the server. Where two outboxes are on one server, each needs roles of its own: with these, an account of one
-- has the same rights in the other. This gives them the prefix shop_, as in shop_outbox_app:
--
--   sed -E 's/outbox_(app|relay|consumer|operator|monitor)([,;])/shop_&/g' sql/grants.sql | mysql DATABASE
--
-- Then give each account its role, and make the role active whenever the account logs in:
--
--   CREATE USER 'shop'@'%' IDENTIFIED BY '...';
--   GRANT outbox_app TO 'shop'@'%';
--   SET DEFAULT ROLE ALL TO 'shop'@'%';
--
-- Or give the rights of a role to the account itself:
--
--   sed -n "s/ TO outbox_app;/ TO 'shop'@'%';/p" sql/grants.sql | mysql DATABASE
--
-- Applications that call procedures with OUT parameters by JDBC's CallableStatement, Spring's SimpleJdbcCall or
-- Hibernate's procedure queries need that: MySQL does not show a routine's parameters to an account that has EXECUTE
-- through a role.
--
-- No account but the one that applies the migrations needs a right on a table. The procedures and views run with that
-- account's rights (SQL SECURITY DEFINER), so it must stay, and keep its rights on the tables. It needs, on this
-- database alone: SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX, DROP, CREATE VIEW, CREATE ROUTINE, ALTER
-- ROUTINE, EXECUTE, CREATE TEMPORARY TABLES and EVENT; EXECUTE also covers the handlers of an application's own
-- business types, which outboxd calls on the consumer's behalf. It needs neither SUPER nor
-- log_bin_trust_function_creators, whatever the binary log's format. With SELECT on performance_schema.* it also sees how
-- long handlers take, for outbox_doctor_v1. The account that applies this file needs
-- GRANT OPTION on the database and CREATE ROLE, both of which the first account of a managed MySQL (RDS, Aurora, Cloud
-- SQL) has.
--
-- outbox_relay and outbox_consumer together are what `outboxd run` needs; with --only, one of them is enough.
CREATE ROLE IF NOT EXISTS outbox_app, outbox_relay, outbox_consumer, outbox_operator, outbox_monitor;

-- Applications: enqueue. They cannot read messages, not even their own.
GRANT EXECUTE ON PROCEDURE outbox_enqueue_v1 TO outbox_app;
GRANT EXECUTE ON PROCEDURE outbox_enqueue_with_options_v1 TO outbox_app;
GRANT EXECUTE ON PROCEDURE outbox_enqueue_returning_v1 TO outbox_app;
GRANT EXECUTE ON PROCEDURE outbox_enqueue_bytes_v1 TO outbox_app;
GRANT EXECUTE ON PROCEDURE outbox_enqueue_batch_v1 TO outbox_app;
GRANT EXECUTE ON PROCEDURE outbox_enqueue_chat_history_v1 TO outbox_app;
GRANT EXECUTE ON PROCEDURE outbox_wait_v1 TO outbox_app;
GRANT EXECUTE ON PROCEDURE outbox_version_v1 TO outbox_app;
GRANT EXECUTE ON PROCEDURE outbox_installed_v1 TO outbox_app;
GRANT EXECUTE ON PROCEDURE outbox_retry_backoff_v1 TO outbox_app;

-- Relays: claim messages, and mark what Kafka answered.
GRANT EXECUTE ON PROCEDURE outbox_claim_v1 TO outbox_relay;
GRANT EXECUTE ON PROCEDURE outbox_claim_more_v1 TO outbox_relay;
GRANT EXECUTE ON PROCEDURE outbox_heartbeat_v1 TO outbox_relay;
GRANT EXECUTE ON PROCEDURE outbox_leave_v1 TO outbox_relay;
GRANT EXECUTE ON PROCEDURE outbox_mark_published_batch_v1 TO outbox_relay;
GRANT EXECUTE ON PROCEDURE outbox_mark_failed_batch_v1 TO outbox_relay;
GRANT EXECUTE ON PROCEDURE outbox_mark_dead_batch_v1 TO outbox_relay;
GRANT EXECUTE ON PROCEDURE outbox_mark_topics_unavailable_v1 TO outbox_relay;
GRANT EXECUTE ON PROCEDURE outbox_version_v1 TO outbox_relay;
GRANT EXECUTE ON PROCEDURE outbox_installed_v1 TO outbox_relay;
GRANT EXECUTE ON PROCEDURE outbox_identity_v1 TO outbox_relay;
GRANT EXECUTE ON PROCEDURE outbox_retry_backoff_v1 TO outbox_relay;
GRANT EXECUTE ON PROCEDURE outbox_recover_published_v1 TO outbox_relay;
GRANT EXECUTE ON PROCEDURE outbox_slots_owned_v1 TO outbox_relay;
GRANT EXECUTE ON PROCEDURE outbox_lag_v1 TO outbox_relay;
GRANT EXECUTE ON PROCEDURE outbox_lock_waits_v1 TO outbox_relay;
GRANT EXECUTE ON PROCEDURE outbox_doctor_v1 TO outbox_relay;
GRANT SELECT ON outbox_topics_unavailable TO outbox_relay;
-- Relays of the legacy Go service, which own no slots.
GRANT EXECUTE ON PROCEDURE outbox_get_v1 TO outbox_relay;
GRANT EXECUTE ON PROCEDURE outbox_list_due_v1 TO outbox_relay;
GRANT EXECUTE ON PROCEDURE outbox_mark_published_v1 TO outbox_relay;
GRANT EXECUTE ON PROCEDURE outbox_mark_failed_v1 TO outbox_relay;
GRANT EXECUTE ON PROCEDURE outbox_mark_dead_v1 TO outbox_relay;

-- Consumers: let messages take effect.
GRANT EXECUTE ON PROCEDURE outbox_consume_v1 TO outbox_consumer;
GRANT EXECUTE ON PROCEDURE outbox_recognize_v1 TO outbox_consumer;
GRANT EXECUTE ON PROCEDURE outbox_receive_v1 TO outbox_consumer;
GRANT EXECUTE ON PROCEDURE outbox_inbox_v1 TO outbox_consumer;
GRANT EXECUTE ON PROCEDURE outbox_lag_v1 TO outbox_consumer;
GRANT EXECUTE ON PROCEDURE outbox_lock_waits_v1 TO outbox_consumer;
GRANT EXECUTE ON PROCEDURE outbox_doctor_v1 TO outbox_consumer;
GRANT EXECUTE ON PROCEDURE outbox_version_v1 TO outbox_consumer;
GRANT EXECUTE ON PROCEDURE outbox_installed_v1 TO outbox_consumer;
GRANT EXECUTE ON PROCEDURE outbox_identity_v1 TO outbox_consumer;
GRANT EXECUTE ON PROCEDURE outbox_retry_backoff_v1 TO outbox_consumer;
-- Consumers of the legacy Go service, one record a call.
GRANT EXECUTE ON PROCEDURE outbox_persist_chat_history_v1 TO outbox_consumer;
GRANT EXECUTE ON PROCEDURE outbox_mark_failed_v1 TO outbox_consumer;
GRANT EXECUTE ON PROCEDURE outbox_mark_dead_v1 TO outbox_consumer;

-- Operators: read messages, and change what relays and consumers do with them.
GRANT EXECUTE ON PROCEDURE outbox_get_v1 TO outbox_operator;
GRANT EXECUTE ON PROCEDURE outbox_list_due_v1 TO outbox_operator;
GRANT EXECUTE ON PROCEDURE outbox_list_failures_v1 TO outbox_operator;
GRANT EXECUTE ON PROCEDURE outbox_mark_dead_v1 TO outbox_operator;
GRANT EXECUTE ON PROCEDURE outbox_list_dead_v1 TO outbox_operator;
GRANT EXECUTE ON PROCEDURE outbox_summarize_dead_v1 TO outbox_operator;
GRANT EXECUTE ON PROCEDURE outbox_count_v1 TO outbox_operator;
GRANT EXECUTE ON PROCEDURE outbox_list_failing_v1 TO outbox_operator;
GRANT EXECUTE ON PROCEDURE outbox_retry_v1 TO outbox_operator;
GRANT EXECUTE ON PROCEDURE outbox_retry_failing_v1 TO outbox_operator;
GRANT EXECUTE ON PROCEDURE outbox_give_up_v1 TO outbox_operator;
GRANT EXECUTE ON PROCEDURE outbox_give_up_failing_v1 TO outbox_operator;
GRANT EXECUTE ON PROCEDURE outbox_find_v1 TO outbox_operator;
GRANT EXECUTE ON PROCEDURE outbox_lane_v1 TO outbox_operator;
GRANT EXECUTE ON PROCEDURE outbox_requeue_v1 TO outbox_operator;
GRANT EXECUTE ON PROCEDURE outbox_requeue_dead_v1 TO outbox_operator;
GRANT EXECUTE ON PROCEDURE outbox_discard_v1 TO outbox_operator;
GRANT EXECUTE ON PROCEDURE outbox_discard_dead_v1 TO outbox_operator;
GRANT EXECUTE ON PROCEDURE outbox_pause_v1 TO outbox_operator;
GRANT EXECUTE ON PROCEDURE outbox_resume_v1 TO outbox_operator;
GRANT EXECUTE ON PROCEDURE outbox_purge_v1 TO outbox_operator;
GRANT EXECUTE ON PROCEDURE outbox_purge_dead_v1 TO outbox_operator;
GRANT EXECUTE ON PROCEDURE outbox_purge_dedup_keys_v1 TO outbox_operator;
GRANT EXECUTE ON PROCEDURE outbox_retain_v1 TO outbox_operator;
GRANT EXECUTE ON PROCEDURE outbox_recover_published_v1 TO outbox_operator;
GRANT EXECUTE ON PROCEDURE outbox_register_biz_type_v1 TO outbox_operator;
GRANT EXECUTE ON PROCEDURE outbox_register_batch_handler_v1 TO outbox_operator;
GRANT EXECUTE ON PROCEDURE outbox_delete_biz_type_v1 TO outbox_operator;
GRANT EXECUTE ON PROCEDURE outbox_register_bytes_v1 TO outbox_operator;
GRANT EXECUTE ON PROCEDURE outbox_subscribe_v1 TO outbox_operator;
GRANT EXECUTE ON PROCEDURE outbox_unsubscribe_v1 TO outbox_operator;
GRANT EXECUTE ON PROCEDURE outbox_list_subscriptions_v1 TO outbox_operator;
GRANT EXECUTE ON PROCEDURE outbox_replay_v1 TO outbox_operator;
GRANT EXECUTE ON PROCEDURE outbox_new_identity_v1 TO outbox_operator;
GRANT EXECUTE ON PROCEDURE outbox_set_transaction_bytes_v1 TO outbox_operator;
GRANT EXECUTE ON PROCEDURE outbox_set_max_payload_bytes_v1 TO outbox_operator;
GRANT EXECUTE ON PROCEDURE outbox_status_v1 TO outbox_operator;
GRANT EXECUTE ON PROCEDURE outbox_version_v1 TO outbox_operator;
GRANT EXECUTE ON PROCEDURE outbox_installed_v1 TO outbox_operator;
GRANT EXECUTE ON PROCEDURE outbox_identity_v1 TO outbox_operator;
GRANT EXECUTE ON PROCEDURE outbox_retry_backoff_v1 TO outbox_operator;
GRANT SELECT ON outbox_status TO outbox_operator;
GRANT SELECT ON outbox_topics_unavailable TO outbox_operator;
GRANT EXECUTE ON PROCEDURE outbox_lag_v1 TO outbox_operator;
GRANT EXECUTE ON PROCEDURE outbox_lock_waits_v1 TO outbox_operator;
GRANT EXECUTE ON PROCEDURE outbox_doctor_v1 TO outbox_operator;
GRANT SELECT ON outbox_dead_letters TO outbox_operator;
GRANT SELECT ON outbox_failing TO outbox_operator;
GRANT SELECT ON outbox_relays_status TO outbox_operator;
GRANT SELECT ON outbox_audit_log TO outbox_operator;
GRANT SELECT ON outbox_policies TO outbox_operator;

-- Monitoring: counts and reasons, no payloads.
GRANT SELECT ON outbox_status TO outbox_monitor;
GRANT SELECT ON outbox_topics_unavailable TO outbox_monitor;
GRANT SELECT ON outbox_dead_letters TO outbox_monitor;
GRANT SELECT ON outbox_failing TO outbox_monitor;
GRANT SELECT ON outbox_relays_status TO outbox_monitor;
GRANT SELECT ON outbox_policies TO outbox_monitor;
GRANT EXECUTE ON PROCEDURE outbox_status_v1 TO outbox_monitor;
GRANT EXECUTE ON PROCEDURE outbox_lag_v1 TO outbox_monitor;
GRANT EXECUTE ON PROCEDURE outbox_lock_waits_v1 TO outbox_monitor;
GRANT EXECUTE ON PROCEDURE outbox_doctor_v1 TO outbox_monitor;
GRANT EXECUTE ON PROCEDURE outbox_version_v1 TO outbox_monitor;
GRANT EXECUTE ON PROCEDURE outbox_installed_v1 TO outbox_monitor;
GRANT EXECUTE ON PROCEDURE outbox_identity_v1 TO outbox_monitor;
GRANT EXECUTE ON PROCEDURE outbox_retry_backoff_v1 TO outbox_monitor;
