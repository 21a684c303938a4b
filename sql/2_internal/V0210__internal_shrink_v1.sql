SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_shrink_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_shrink_v1 (
  IN p_errno INT,
  IN p_messages INT,
  IN p_size BIGINT UNSIGNED,
  INOUT p_most BIGINT UNSIGNED,
  INOUT p_skipped INT,
  OUT p_verdict VARCHAR(8) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin
)
COMMENT '
What a routine that works in batches does about an error: rolls the batch back and, if the server may have found the
transaction too large, halves the bound, so that the caller goes on with a smaller one.
That is for the errors of a commit, such as that of group replication; 1197 (max_binlog_cache_size) reaches no handler.
Internal: called by the EXIT HANDLER of a batch, in a transaction that the caller owns.

Parameters
  p_errno INT: the error''s number
  p_messages INT: how many messages the batch had
  p_size BIGINT UNSIGNED: its size, in the unit of p_most
  INOUT p_most BIGINT UNSIGNED: the bound, in bytes or in messages; comes back as half of p_size, or as NULL, the
    default, where the verdict is alone
  INOUT p_skipped INT: how many messages were too large by themselves by now; 10 of them are the server''s trouble
  OUT p_verdict VARCHAR(8): what the caller does:
    smaller  it tries again, within p_most
    alone    it passes over the message, which was the whole batch
    raise    it raises the error again (RESIGNAL): it is another one, or nothing helps

Transaction: ends the caller''s, and leaves the next one READ COMMITTED.

Example
  mysql> SET @most = NULL, @skipped = 0;
  mysql> CALL outbox_internal_shrink_v1(3100, 1000, 33000000, @most, @skipped, @verdict);
  mysql> SELECT @most, @verdict;
  +----------+----------+
  | @most    | @verdict |
  +----------+----------+
  | 16500000 | smaller  |
  +----------+----------+
'
SQL SECURITY DEFINER
NO SQL
BEGIN
  DECLARE v_most_skipped INT DEFAULT 10;
  DECLARE v_is_servers, v_is_too_large BOOLEAN;

  ROLLBACK AND NO CHAIN NO RELEASE;
  SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
  CALL outbox_internal_judge_error_v1(p_errno, v_is_servers, v_is_too_large);
  IF v_is_too_large AND p_messages > 1 THEN
    SET p_most = GREATEST(p_size DIV 2, 1), p_verdict = 'smaller';
  ELSEIF v_is_too_large AND p_messages = 1 AND p_skipped < v_most_skipped THEN
    SET p_most = NULL, p_skipped = p_skipped + 1, p_verdict = 'alone';
  ELSE
    SET p_verdict = 'raise';
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (210, 'V0210__internal_shrink_v1.sql');
