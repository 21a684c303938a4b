SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_list_dead_v1;

DELIMITER $$

CREATE PROCEDURE outbox_list_dead_v1 (
  IN p_topic TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_biz_type TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_message_key TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_error_like TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_before DATETIME(6),
  IN p_below_id BIGINT UNSIGNED,
  IN p_limit INT
)
COMMENT '
Lists dead letters, the highest ids first, one page a call, without their payloads (outbox_get_v1 returns a whole message).

Parameters
  p_topic TEXT: only this topic; NULL: any
  p_biz_type TEXT: only this business type; NULL: any
  p_message_key TEXT: only this key; NULL: any
  p_error_like TEXT: only where last_error is LIKE this, with the wildcards % and _; NULL: any
  p_before DATETIME(6): only what died before this time, UTC; NULL: any
  p_below_id BIGINT UNSIGNED: the last id of the previous page; NULL: from the newest on
  p_limit INT: rows at most, up to 1000000; NULL or 0: 100

Result set: id, biz_type, topic, message_key, retry_count, max_retry, last_error, published_at, created_at, and
updated_at, when it died.

Errors
  30005 p_limit is out of range

Called by: operators. Reads only; transaction: the caller''s. Reads all dead letters, and no other message.

Example
  mysql> CALL outbox_list_dead_v1(''chat'', NULL, NULL, NULL, NULL, NULL, 10);
  +----+----------------------+-------+-------------+-------------+-----------+-----------------------------+-----+
  | id | biz_type             | topic | message_key | retry_count | max_retry | last_error                  | ... |
  +----+----------------------+-------+-------------+-------------+-----------+-----------------------------+-----+
  |  7 | chat_history_persist | chat  | c-1         |          20 |        20 | chat_histories is read only | ... |
  +----+----------------------+-------+-------------+-------------+-----------+-----------------------------+-----+
'
SQL SECURITY DEFINER
READS SQL DATA
BEGIN
  DECLARE v_ids JSON;

  CALL outbox_internal_choose_v1('dead', p_topic, p_biz_type, p_message_key, p_error_like, p_before, TRUE, p_below_id, COALESCE(NULLIF(p_limit, 0), 100), v_ids);
  SELECT /*+ SET_VAR(sql_big_selects = 1) */
         m.id, m.biz_type, m.topic, m.message_key, m.retry_count, m.max_retry, m.last_error, m.published_at, m.created_at, m.updated_at
    FROM JSON_TABLE(COALESCE(v_ids, '[]'), '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$')) AS chosen
    STRAIGHT_JOIN agent_outbox_messages AS m FORCE INDEX (PRIMARY) ON m.id = chosen.id
   ORDER BY m.id DESC;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (802, 'V0802__list_dead_v1.sql');
