SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_list_failing_v1;

DELIMITER $$

CREATE PROCEDURE outbox_list_failing_v1 (
  IN p_topic TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_biz_type TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_message_key TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_error_like TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_before DATETIME(6),
  IN p_after_id BIGINT UNSIGNED,
  IN p_limit INT
)
COMMENT '
Lists failing messages, the lowest ids first, one page a call, without their payloads: those that have failed, are pending
again and wait for their retry. outbox_list_failures_v1 has each failure of one.

Parameters
  p_topic TEXT: only this topic; NULL: any
  p_biz_type TEXT: only this business type; NULL: any
  p_message_key TEXT: only this key; NULL: any
  p_error_like TEXT: only where last_error is LIKE this, with the wildcards % and _; NULL: any
  p_before DATETIME(6): only what failed last, or was retried last, before this time, UTC; NULL: any
  p_after_id BIGINT UNSIGNED: the last id of the previous page; NULL: from the beginning
  p_limit INT: rows at most, up to 1000000; NULL or 0: 100

Result set: id, biz_type, topic, message_key, origin (the source that it was received from; NULL: it is of this outbox),
retry_count, max_retry, last_error, failing_since (the first of its failures, UTC), next_retry_at, created_at, and followers:
how many messages it holds back, counted up to 1000.

Errors
  30005 p_limit is out of range

Called by: operators. Reads only; transaction: the caller''s. Reads the failing messages, in an index that has all pending
ones, and up to 1000 of each lane that it lists.

Example
  mysql> CALL outbox_list_failing_v1(''chat'', NULL, NULL, NULL, NULL, NULL, 10);
  +----+----------------------+-------+-------------+--------+-------------+-----------+-----------------------------+-----+-----------+
  | id | biz_type             | topic | message_key | origin | retry_count | max_retry | last_error                  | ... | followers |
  +----+----------------------+-------+-------------+--------+-------------+-----------+-----------------------------+-----+-----------+
  |  7 | chat_history_persist | chat  | c-1         | NULL   |           4 |        20 | chat_histories is read only | ... |        12 |
  +----+----------------------+-------+-------------+--------+-------------+-----------+-----------------------------+-----+-----------+
'
SQL SECURITY DEFINER
READS SQL DATA
BEGIN
  DECLARE v_ids JSON;

  CALL outbox_internal_choose_v1('failing', p_topic, p_biz_type, p_message_key, p_error_like, p_before, FALSE, p_after_id, COALESCE(NULLIF(p_limit, 0), 100), v_ids);
  SELECT /*+ SET_VAR(sql_big_selects = 1) */
         f.id, f.biz_type, f.topic, f.message_key, f.origin, f.retry_count, f.max_retry, f.last_error, f.failing_since, f.next_retry_at, f.created_at, f.followers
    FROM JSON_TABLE(COALESCE(v_ids, '[]'), '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$')) AS chosen
    JOIN outbox_internal_failing AS f ON f.id = chosen.id
   ORDER BY f.id;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (813, 'V0813__list_failing_v1.sql');
