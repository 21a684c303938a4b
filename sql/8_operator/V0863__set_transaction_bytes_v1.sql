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

Result set: bytes, and changed, which is 0 if nothing changed.

Errors
  30005 p_bytes is out of range; 30006 called inside a transaction

Called by: operators. Owns its transaction (READ COMMITTED). Writes to outbox_audit if it changes something.

Example
  mysql> CALL outbox_set_transaction_bytes_v1(8388608);
  +---------+---------+
  | bytes   | changed |
  +---------+---------+
  | 8388608 |       1 |
  +---------+---------+
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  CALL outbox_internal_set_limit_v1('transaction_bytes', p_bytes, 33554432, 1048576);
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (863, 'V0863__set_transaction_bytes_v1.sql');
