SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_keep_order_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_keep_order_v1 ()
COMMENT '
Withdraws from a batch handler what it is offered out of order: the messages behind one of their lane that is still to
do and not offered.
Internal: outbox_internal_handle_in_bulk_v1 calls it.

Reads and changes outbox_batch. Transaction: the caller''s.

Example
  mysql> CALL outbox_internal_keep_order_v1();
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_behind JSON;

  IF EXISTS (SELECT 1 FROM outbox_batch WHERE outcome = 'todo' AND lane IS NOT NULL) THEN
    SELECT JSON_ARRAYAGG(seen.id)
      INTO v_behind
      FROM (
        SELECT id, outcome, MIN(IF(outcome = 'todo', id, NULL)) OVER (PARTITION BY lane, topic, message_key) AS first_todo
          FROM outbox_batch
         WHERE outcome IN ('todo', 'offered')
           AND lane IS NOT NULL
      ) AS seen
     WHERE seen.outcome = 'offered'
       AND seen.id > seen.first_todo;
    UPDATE /*+ SET_VAR(sql_safe_updates = 0) */ JSON_TABLE(COALESCE(v_behind, '[]'), '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$')) AS behind
      STRAIGHT_JOIN outbox_batch AS b ON b.id = behind.id
       SET b.outcome = 'todo';
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (607, 'V0607__internal_keep_order_v1.sql');
