SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_change_batch_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_change_batch_v1 (
  IN p_action VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_ids JSON,
  IN p_start DATETIME(6),
  IN p_done INT,
  IN p_per_second INT,
  IN p_reason TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  INOUT p_named JSON,
  OUT p_changed INT
)
COMMENT '
Does one of the operator''s actions to messages that the caller has chosen and locked.
Internal: outbox_internal_change_chosen_v1 calls it.

Parameters
  p_action VARCHAR(64): requeue_dead, discard_dead, retry_failing or give_up_failing
  p_ids JSON: array of ids: dead ones, or pending ones
  p_start DATETIME(6): when the whole call began, UTC
  p_done INT: how many it has changed before
  p_per_second INT: requeue_dead: how many become due in a second; NULL: all now
  p_reason TEXT: give_up_failing: why; NULL: not said
  INOUT p_named JSON: discard_dead: array of what was deleted, for the audit, 100 at most
  OUT p_changed INT: how many changed

Transaction: the caller''s.

Example
  mysql> CALL outbox_internal_change_batch_v1(''requeue_dead'', ''[7]'', UTC_TIMESTAMP(6), 0, NULL, NULL, @named, @changed);
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_most_named INT DEFAULT 100;
  DECLARE v_at INT DEFAULT 0;
  DECLARE v_named JSON;

  SET p_changed = 0;
  CASE p_action
    WHEN 'requeue_dead' THEN
      UPDATE JSON_TABLE(p_ids, '$[*]' COLUMNS (place FOR ORDINALITY, id BIGINT UNSIGNED PATH '$')) AS chosen
        STRAIGHT_JOIN agent_outbox_messages AS m FORCE INDEX (PRIMARY) ON m.id = chosen.id
         SET m.status = 'pending',
             m.retry_count = 0,
             m.next_retry_at = p_start + INTERVAL COALESCE((p_done + chosen.place - 1) * 1000000 DIV p_per_second, 0) MICROSECOND,
             m.updated_at = p_start;
      SET p_changed = ROW_COUNT();
    WHEN 'discard_dead' THEN
      SELECT JSON_ARRAYAGG(JSON_OBJECT(
               'id', m.id, 'biz_type', m.biz_type, 'topic', m.topic, 'message_key', m.message_key, 'last_error', m.last_error))
        INTO v_named
        FROM JSON_TABLE(p_ids, '$[*]' COLUMNS (place FOR ORDINALITY, id BIGINT UNSIGNED PATH '$')) AS chosen
        STRAIGHT_JOIN agent_outbox_messages AS m FORCE INDEX (PRIMARY) ON m.id = chosen.id
       WHERE chosen.place <= v_most_named - p_done;
      SET p_named = JSON_MERGE_PRESERVE(COALESCE(p_named, JSON_ARRAY()), COALESCE(v_named, JSON_ARRAY()));
      DELETE m
        FROM JSON_TABLE(p_ids, '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$')) AS chosen
        STRAIGHT_JOIN agent_outbox_messages AS m FORCE INDEX (PRIMARY) ON m.id = chosen.id;
      SET p_changed = ROW_COUNT();
      CALL outbox_internal_forget_failures_v1(p_ids);
    WHEN 'retry_failing' THEN
      CALL outbox_internal_hasten_v1(p_ids, p_changed);
    WHEN 'give_up_failing' THEN
      WHILE v_at < JSON_LENGTH(p_ids) DO
        CALL outbox_internal_give_up_v1(JSON_EXTRACT(p_ids, CONCAT('$[', v_at, ']')), p_reason);
        SET v_at = v_at + 1;
      END WHILE;
      SET p_changed = v_at;
    ELSE
      SET p_changed = 0;
  END CASE;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (808, 'V0808__internal_change_batch_v1.sql');
