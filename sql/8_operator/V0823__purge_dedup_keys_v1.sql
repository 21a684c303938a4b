SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_purge_dedup_keys_v1;

DELIMITER $$

CREATE PROCEDURE outbox_purge_dedup_keys_v1 (
  IN p_before DATETIME(6),
  IN p_limit INT
)
COMMENT '
Deletes old dedup keys, the oldest first: a message that is enqueued with such a key again is stored again. Safe beside other
work: it leaves out what another session has locked.

Parameters
  p_before DATETIME(6): delete keys that were first used before this time, UTC. Not newer than how long a sender may
    still try again
  p_limit INT: keys at most, up to 1000000; NULL or 0: 1000

Result set: deleted, the number. It is less than p_limit when no more are old enough, or some were locked.

Errors
  30001 p_before is NULL; 30005 p_limit is out of range; 30006 called inside a transaction

Called by: operators, the event outbox_retention. Owns its transactions (READ COMMITTED), one for at most 1000 keys; if it
is cut off, what is committed stays. Writes one row to outbox_audit if it deletes something.

Example
  mysql> CALL outbox_purge_dedup_keys_v1(UTC_TIMESTAMP(6) - INTERVAL 7 DAY, 10000);
  +---------+
  | deleted |
  +---------+
  |   10000 |
  +---------+
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_left INT DEFAULT COALESCE(NULLIF(p_limit, 0), 1000);
  DECLARE v_deleted, v_changed, v_part INT DEFAULT 0;
  DECLARE v_most INT DEFAULT 1000;
  DECLARE v_keys JSON;
  DECLARE v_audit_id BIGINT UNSIGNED;

  IF p_before IS NULL THEN
    CALL outbox_internal_raise_v1(30001, 'p_before must not be NULL');
  END IF;
  IF v_left NOT BETWEEN 1 AND 1000000 THEN
    CALL outbox_internal_raise_v1(30005, CONCAT('p_limit must be from 0 to 1000000: ', p_limit));
  END IF;
  CALL outbox_internal_require_no_transaction_v1('outbox_purge_dedup_keys_v1');
  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION
    BEGIN
      ROLLBACK AND NO CHAIN NO RELEASE;
      RESIGNAL;
    END;
    part_by_part: LOOP
      SET v_part = LEAST(v_left, v_most);
      SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
      START TRANSACTION;
      SELECT /*+ SET_VAR(sql_big_selects = 1) */ JSON_ARRAYAGG(old.dedup_key)
        INTO v_keys
        FROM (
          SELECT dedup_key
            FROM outbox_dedup_keys FORCE INDEX (outbox_dedup_keys_created)
           WHERE created_at < p_before
           ORDER BY created_at
           LIMIT v_part
             FOR UPDATE SKIP LOCKED
        ) AS old;
      SET v_changed = 0;
      IF v_keys IS NOT NULL THEN
        DELETE /*+ SET_VAR(sql_big_selects = 1) */ k
          FROM JSON_TABLE(v_keys, '$[*]' COLUMNS (dedup_key VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin PATH '$')) AS old
          STRAIGHT_JOIN outbox_dedup_keys AS k FORCE INDEX (PRIMARY) ON k.dedup_key = old.dedup_key;
        SET v_changed = ROW_COUNT();
        CALL outbox_internal_audit_v1('purge_dedup_keys', JSON_OBJECT('before', p_before, 'limit', p_limit, 'keys', v_deleted + v_changed), v_audit_id);
      END IF;
      COMMIT AND NO CHAIN NO RELEASE;
      SET v_deleted = v_deleted + v_changed, v_left = v_left - v_changed;
      IF v_changed < v_part OR v_left = 0 THEN
        LEAVE part_by_part;
      END IF;
    END LOOP;
  END;
  SELECT v_deleted AS deleted;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (823, 'V0823__purge_dedup_keys_v1.sql');
