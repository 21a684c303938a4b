SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_purge_v1;

DELIMITER $$

CREATE PROCEDURE outbox_purge_v1 (
  IN p_before DATETIME(6),
  IN p_limit INT
)
COMMENT '
Deletes old consumed messages, the lowest ids first. If Kafka delivers a purged message again, it is unknown and has no
effect. Safe beside other work: it waits for no lock, and locks only what it deletes.

A message that a row of another table points to by a foreign key is left out, and counted. Each call tries it again, and
waits where a transaction is changing such a row: let that table go without the foreign key, or give it ON DELETE
CASCADE or SET NULL.

Parameters
  p_before DATETIME(6): delete what was consumed before this time, UTC (by updated_at, if an adopted row has no
    consumed_at)
  p_limit INT: messages at most, up to 1000000; NULL or 0: 1000

Result set: deleted, the number. It is less than p_limit when no more are old enough, or some were locked. referenced, how
many were left out because a foreign key points to them.

Errors
  30001 p_before is NULL; 30005 p_limit is out of range; 30006 called inside a transaction

Called by: operators, the event outbox_retention. Owns its transactions (READ COMMITTED), one for at most 1000 messages
(fewer if they are large: outbox_internal_fit_v1); if it is cut off, what is committed stays. Writes one row to
outbox_audit if it deletes something.

Example
  mysql> CALL outbox_purge_v1(UTC_TIMESTAMP(6) - INTERVAL 7 DAY, 10000);
  +---------+------------+
  | deleted | referenced |
  +---------+------------+
  |   10000 |          0 |
  +---------+------------+
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_left INT DEFAULT COALESCE(NULLIF(p_limit, 0), 1000);
  DECLARE v_deleted, v_referenced, v_changed, v_stay, v_read INT DEFAULT 0;
  DECLARE v_part INT DEFAULT 1000;
  DECLARE v_found INT;
  DECLARE v_after BIGINT UNSIGNED DEFAULT 0;
  DECLARE v_audit_id, v_to, v_last BIGINT UNSIGNED;
  DECLARE v_is_newer BOOLEAN;
  DECLARE v_ids JSON;
  DECLARE v_errno INT;
  DECLARE v_messages, v_skipped INT DEFAULT 0;
  DECLARE v_bytes, v_most_bytes, v_new_audit_id BIGINT UNSIGNED;
  DECLARE v_row_image, v_verdict VARCHAR(8) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;

  IF p_before IS NULL THEN
    CALL outbox_internal_raise_v1(30001, 'p_before must not be NULL');
  END IF;
  IF v_left NOT BETWEEN 1 AND 1000000 THEN
    CALL outbox_internal_raise_v1(30005, CONCAT('p_limit must be from 0 to 1000000: ', p_limit));
  END IF;
  CALL outbox_internal_require_no_transaction_v1('outbox_purge_v1');
  CALL outbox_internal_spare_images_v1(v_row_image);
  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION
    BEGIN
      ROLLBACK AND NO CHAIN NO RELEASE;
      CALL outbox_internal_spare_images_v1(v_row_image);
      RESIGNAL;
    END;
    part_by_part: LOOP
      BEGIN
        DECLARE EXIT HANDLER FOR SQLEXCEPTION
        BEGIN
          GET STACKED DIAGNOSTICS CONDITION 1 v_errno = MYSQL_ERRNO;
          CALL outbox_internal_shrink_v1(v_errno, v_messages, v_bytes, v_most_bytes, v_skipped, v_verdict);
          IF v_verdict = 'raise' THEN
            RESIGNAL;
          ELSEIF v_verdict = 'alone' THEN
            SET v_after = v_to;
          END IF;
        END;
        SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
        START TRANSACTION;
        -- There is no index on consumed_at, because every message would pay for it. Ids ascend with created_at, and nothing
        -- is consumed before it is created: so read the table from its old end, and stop where everything is newer. By
        -- the index on status it takes seven times as long for each message.
        SELECT /*+ SET_VAR(sql_big_selects = 1) */ COUNT(*), MAX(part.id), MIN(part.created_at) >= p_before
          INTO v_read, v_to, v_is_newer
          FROM (
            SELECT id, created_at
              FROM agent_outbox_messages FORCE INDEX (PRIMARY)
             WHERE id > v_after
             ORDER BY id
             LIMIT v_part
          ) AS part;
        SELECT /*+ SET_VAR(sql_big_selects = 1) */ JSON_ARRAYAGG(old.id), MAX(old.id), COUNT(*)
          INTO v_ids, v_last, v_found
          FROM (
            SELECT id
              FROM agent_outbox_messages FORCE INDEX (PRIMARY)
             WHERE id > v_after
               AND id <= v_to
               AND status = 'consumed'
               AND COALESCE(consumed_at, updated_at) < p_before
             ORDER BY id
             LIMIT v_left
          ) AS old;
        IF v_found = v_left THEN
          -- Where some of these stay, the next part begins right behind them.
          SET v_to = v_last, v_read = v_part, v_is_newer = FALSE;
        END IF;
        CALL outbox_internal_fit_v1(v_ids, v_most_bytes, v_messages, v_bytes);
        IF v_messages < v_found THEN
          SET v_to = JSON_EXTRACT(v_ids, '$[last]'), v_read = v_part, v_is_newer = FALSE;
        END IF;
        SET v_new_audit_id = v_audit_id, v_changed = 0, v_stay = 0;
        IF v_ids IS NOT NULL THEN
          CALL outbox_internal_lock_available_v1(v_ids, 'consumed');
          -- IGNORE: leaves out the rows that foreign keys point to, which are an error of the statement otherwise.
          DELETE /*+ SET_VAR(sql_big_selects = 1) */ IGNORE m
            FROM JSON_TABLE(v_ids, '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$')) AS old
            STRAIGHT_JOIN agent_outbox_messages AS m FORCE INDEX (PRIMARY) ON m.id = old.id;
          SET v_changed = ROW_COUNT();
          CALL outbox_internal_forget_failures_v1(v_ids);
          SET v_stay = COALESCE(JSON_LENGTH(v_ids), 0) - v_changed;
          IF v_changed > 0 THEN
            CALL outbox_internal_audit_v1('purge', JSON_OBJECT('before', p_before, 'limit', p_limit, 'messages', v_deleted + v_changed,
              'referenced', NULLIF(v_referenced + v_stay, 0)), v_new_audit_id);
          END IF;
        END IF;
        COMMIT AND NO CHAIN NO RELEASE;
        SET v_audit_id = v_new_audit_id;
        SET v_deleted = v_deleted + v_changed;
        SET v_referenced = v_referenced + v_stay;
        SET v_left = v_left - v_changed;
        IF v_read < v_part OR v_is_newer OR v_left = 0 THEN
          LEAVE part_by_part;
        END IF;
        SET v_after = v_to;
      END;
    END LOOP;
  END;
  CALL outbox_internal_spare_images_v1(v_row_image);
  SELECT v_deleted AS deleted, v_referenced AS referenced;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (821, 'V0821__purge_v1.sql');
