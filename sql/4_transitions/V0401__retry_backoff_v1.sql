SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_retry_backoff_v1;

DELIMITER $$

CREATE PROCEDURE outbox_retry_backoff_v1 (
  IN p_retry_count INT,
  OUT p_seconds INT UNSIGNED
)
COMMENT '
Tells how long a message waits after its n-th failure by default. A business type may have another base and cap
(outbox_biz_types); the rule is the same.

Parameters
  p_retry_count INT: failures so far; NULL or 0 or less counts as the first
  OUT p_seconds INT UNSIGNED: seconds: 1, 2, 4, 8, 16, 32 for 1 to 6, then 32

Called by: anybody. Touches no data.

Example
  mysql> CALL outbox_retry_backoff_v1(3, @s);
  mysql> SELECT @s;
  +------+
  | @s   |
  +------+
  |    4 |
  +------+
'
SQL SECURITY DEFINER
NO SQL
BEGIN
  -- The defaults of outbox_biz_types.
  DECLARE v_base_seconds INT DEFAULT 1;
  DECLARE v_cap_seconds INT DEFAULT 32;
  CALL outbox_internal_backoff_v1(p_retry_count, v_base_seconds, v_cap_seconds, p_seconds);
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (401, 'V0401__retry_backoff_v1.sql');
