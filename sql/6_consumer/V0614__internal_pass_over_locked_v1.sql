SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_pass_over_locked_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_pass_over_locked_v1 ()
COMMENT '
Passes over the messages of the batch that another session has locked, and over those behind them in their lanes: they are
not reached, and the next call looks again. So a forgotten transaction holds up the lanes of what it has locked, and no other.
Internal: outbox_internal_open_batch_v1 calls it.

Reads and changes outbox_batch, where a locked message is unknown: reading with SKIP LOCKED did not see it. A message that
its own transaction has not committed stays unknown, for its record cannot have been sent. Transaction: the caller''s.

Example
  mysql> CALL outbox_internal_pass_over_locked_v1();
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  -- [[id, lane, topic, message_key], ...]
  DECLARE v_locked JSON;

  SELECT JSON_ARRAYAGG(JSON_ARRAY(m.id, IF(t.ordering = 'none', NULL, m.open_lane), m.topic, m.message_key))
    INTO v_locked
    FROM outbox_batch AS b
    STRAIGHT_JOIN agent_outbox_messages AS m FORCE INDEX (PRIMARY) ON m.id = b.id
    LEFT JOIN outbox_biz_types AS t ON t.biz_type = m.biz_type
   WHERE b.outcome = 'unknown';
  IF v_locked IS NOT NULL THEN
    UPDATE /*+ SET_VAR(sql_safe_updates = 0) */ JSON_TABLE(v_locked, '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$[0]')) AS locked
      STRAIGHT_JOIN outbox_batch AS b ON b.id = locked.id
       SET b.outcome = 'not reached',
           b.error = CONCAT('another session has locked message ', locked.id);
    UPDATE /*+ SET_VAR(sql_safe_updates = 0) */ JSON_TABLE(v_locked, '$[*]' COLUMNS (
             id BIGINT UNSIGNED PATH '$[0]',
             lane INT UNSIGNED PATH '$[1]',
             topic VARCHAR(255) PATH '$[2]',
             message_key VARCHAR(255) PATH '$[3]')) AS locked
      STRAIGHT_JOIN outbox_batch AS b
         ON b.lane = locked.lane
        AND b.topic = locked.topic
        AND b.message_key = locked.message_key
        AND b.id > locked.id
        AND b.outcome = 'todo'
       SET b.outcome = 'not reached',
           b.error = CONCAT('another session has locked message ', locked.id, ' of its lane');
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (614, 'V0614__internal_pass_over_locked_v1.sql');
