SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_count_v1;

DELIMITER $$

CREATE PROCEDURE outbox_count_v1 (
  IN p_status VARCHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_topic TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_biz_type TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_message_key TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_error_like TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_before DATETIME(6),
  IN p_from_id BIGINT UNSIGNED,
  IN p_to_id BIGINT UNSIGNED,
  OUT p_messages BIGINT
)
COMMENT '
Counts the messages that an operator''s routine would change or delete: a look before the call.

Parameters
  p_status VARCHAR(32): the status, or failing: those pending ones that have failed
  p_topic TEXT: only this topic; NULL: any
  p_biz_type TEXT: only this business type; NULL: any
  p_message_key TEXT: only this key; NULL: any
  p_error_like TEXT: only where last_error is LIKE this, with the wildcards % and _; NULL: any
  p_before DATETIME(6): only what was published, consumed, died or failed last before this time, UTC; NULL: any
  p_from_id BIGINT UNSIGNED: only from this message on; NULL: from the beginning
  p_to_id BIGINT UNSIGNED: only up to this message; NULL: to the end
  OUT p_messages BIGINT: their number

Called by: operators. Reads only; transaction: the caller''s. Counting consumed messages reads the table from p_from_id
to p_to_id, a second or two for a million; otherwise it reads the messages of the status.

Example
  mysql> CALL outbox_count_v1(''dead'', ''chat'', NULL, NULL, ''%read only%'', NULL, NULL, NULL, @messages);
  mysql> SELECT @messages;
  +-----------+
  | @messages |
  +-----------+
  |       312 |
  +-----------+
'
SQL SECURITY DEFINER
READS SQL DATA
BEGIN
  DECLARE v_to BIGINT UNSIGNED DEFAULT COALESCE(p_to_id, 18446744073709551615);
  DECLARE v_status VARCHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin DEFAULT IF(p_status = 'failing', 'pending', p_status);
  IF p_status = 'consumed' THEN
    SELECT /*+ SET_VAR(sql_big_selects = 1) */ COUNT(*)
      INTO p_messages
      FROM agent_outbox_messages FORCE INDEX (PRIMARY)
     WHERE id BETWEEN COALESCE(p_from_id, 0) AND v_to
       AND status = p_status
       AND (p_topic IS NULL OR topic = p_topic)
       AND (p_biz_type IS NULL OR biz_type = p_biz_type)
       AND (p_message_key IS NULL OR message_key = p_message_key)
       AND (p_error_like IS NULL OR last_error LIKE p_error_like)
       AND (p_before IS NULL OR COALESCE(consumed_at, updated_at) < p_before);
  ELSE
    SELECT /*+ SET_VAR(sql_big_selects = 1) */ COUNT(*)
      INTO p_messages
      FROM agent_outbox_messages FORCE INDEX (idx_outbox_status_next)
     WHERE id BETWEEN COALESCE(p_from_id, 0) AND v_to
       AND status = v_status
       AND (p_status <> 'failing' OR retry_count > 0)
       AND (p_topic IS NULL OR topic = p_topic)
       AND (p_biz_type IS NULL OR biz_type = p_biz_type)
       AND (p_message_key IS NULL OR message_key = p_message_key)
       AND (p_error_like IS NULL OR last_error LIKE p_error_like)
       AND (p_before IS NULL OR IF(p_status = 'published', COALESCE(published_at, updated_at), updated_at) < p_before);
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (851, 'V0851__count_v1.sql');
