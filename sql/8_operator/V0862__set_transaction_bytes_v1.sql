SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_set_transaction_bytes_v1;

DELIMITER $$

CREATE PROCEDURE outbox_set_transaction_bytes_v1 (
  IN p_bytes BIGINT
)
COMMENT '
Sets how much one transaction of outboxd changes at most: a claim hands out no more, so that its mark fits, and consume,
requeue, discard, recover, replay, purge and the retention event divide their work. Counted are the rows as the binary log
writes them, before and after a change; for outbox_consume_v1 the payloads.

Parameters
  p_bytes BIGINT: 1048576 (1 MiB) to 1073741824 (1 GiB); NULL: 33554432 (32 MiB), the default, a quarter of what group
    replication takes by default (group_replication_transaction_size_limit, 150 MB). Where max_binlog_cache_size is
    small, less holds, whatever is set. A message that is larger goes alone

Result set: transaction_bytes, and changed, which is 0 if nothing changed.

Errors
  30005 p_bytes is out of range; 30006 called inside a transaction

Called by: operators. Owns its transaction (READ COMMITTED). Writes to outbox_audit if it changes something.

Example
  mysql> CALL outbox_set_transaction_bytes_v1(8388608);
  +-------------------+---------+
  | transaction_bytes | changed |
  +-------------------+---------+
  |           8388608 |       1 |
  +-------------------+---------+
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_default_bytes BIGINT DEFAULT 33554432;
  DECLARE v_least_bytes BIGINT DEFAULT 1048576;
  DECLARE v_most_bytes BIGINT DEFAULT 1073741824;
  DECLARE v_bytes BIGINT DEFAULT COALESCE(p_bytes, v_default_bytes);
  DECLARE v_before BIGINT;
  DECLARE v_audit_id BIGINT UNSIGNED;

  IF v_bytes NOT BETWEEN v_least_bytes AND v_most_bytes THEN
    CALL outbox_internal_raise_v1(30005, CONCAT('p_bytes ', v_bytes, ' is not within ', v_least_bytes, ' and ', v_most_bytes));
  END IF;
  CALL outbox_internal_require_no_transaction_v1('outbox_set_transaction_bytes_v1');
  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION
    BEGIN
      ROLLBACK AND NO CHAIN NO RELEASE;
      RESIGNAL;
    END;
    START TRANSACTION;
    SELECT MAX(transaction_bytes) INTO v_before FROM outbox_installation FOR UPDATE;
    IF v_before <> v_bytes THEN
      UPDATE /*+ SET_VAR(sql_safe_updates = 0) */ outbox_installation SET transaction_bytes = v_bytes;
      CALL outbox_internal_audit_v1('set_transaction_bytes', JSON_OBJECT('before', v_before, 'after', v_bytes), v_audit_id);
    END IF;
    COMMIT AND NO CHAIN NO RELEASE;
  END;
  SELECT v_bytes AS transaction_bytes, COALESCE(v_before <> v_bytes, FALSE) AS changed;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (862, 'V0862__set_transaction_bytes_v1.sql');
