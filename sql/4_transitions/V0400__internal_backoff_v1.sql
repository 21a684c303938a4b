SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_backoff_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_backoff_v1 (
  IN p_failures INT,
  IN p_base_seconds BIGINT UNSIGNED,
  IN p_cap_seconds BIGINT UNSIGNED,
  OUT p_seconds BIGINT UNSIGNED
)
COMMENT '
The backoff rule: the wait doubles with each failure, from the base up to the cap.
Internal: outbox_mark_failed_v1 and outbox_retry_backoff_v1 call it.

Parameters
  p_failures INT: failures so far, the present one included; NULL or less than 1 counts as 1
  p_base_seconds BIGINT UNSIGNED: the wait after the first failure, in seconds
  p_cap_seconds BIGINT UNSIGNED: the longest wait, in seconds
  OUT p_seconds BIGINT UNSIGNED: the wait, in seconds

Example
  mysql> CALL outbox_internal_backoff_v1(3, 1, 32, @seconds);
  mysql> SELECT @seconds;
  +----------+
  | @seconds |
  +----------+
  |        4 |
  +----------+
'
SQL SECURITY DEFINER
NO SQL
BEGIN
  -- More doublings would shift the largest base (a week) out of 64 bits.
  DECLARE v_most_doublings INT DEFAULT 20;
  SET p_seconds = LEAST(p_cap_seconds, p_base_seconds << LEAST(GREATEST(COALESCE(p_failures, 1), 1) - 1, v_most_doublings));
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (400, 'V0400__internal_backoff_v1.sql');
