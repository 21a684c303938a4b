SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_wait_for_work_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_wait_for_work_v1 (
  IN p_top BIGINT UNSIGNED,
  IN p_is_held BOOLEAN,
  IN p_until DATETIME(6),
  INOUT p_sleep_seconds DOUBLE
)
COMMENT '
Sleeps until there may be something to claim. While it sleeps it looks at the end of the table alone, which tells
whether there is something new. What a failure or an operator brought back to pending is found by reading the heads
again: so it returns after a second in any case, and after p_sleep_seconds where messages are held back.
Internal: outbox_claim_v1 calls it.

Parameters
  p_top BIGINT UNSIGNED: the last id when the heads were read
  p_is_held BOOLEAN: whether messages were held back then
  p_until DATETIME(6): when to return at the latest
  INOUT p_sleep_seconds DOUBLE: how long to sleep between two looks; comes back longer: soon 0.05 s, and 0.1 s after a
    minute. Where messages are held back it becomes 0.25 s, but a look comes every 0.05 s

Owns its transactions (READ COMMITTED); changes nothing.

Example
  mysql> SET @sleep_seconds = 0.002;
  mysql> CALL outbox_internal_wait_for_work_v1(7, FALSE, UTC_TIMESTAMP(6) + INTERVAL 1 SECOND, @sleep_seconds);
'
SQL SECURITY DEFINER
READS SQL DATA
BEGIN
  DECLARE v_soon_seconds DOUBLE DEFAULT 0.05;
  DECLARE v_longest_sleep_seconds DOUBLE DEFAULT IF(p_is_held, v_soon_seconds, 0.1);
  DECLARE v_longest_seconds DOUBLE DEFAULT IF(p_is_held, 0.25, v_longest_sleep_seconds);
  DECLARE v_began DATETIME(6) DEFAULT UTC_TIMESTAMP(6);
  DECLARE v_until DATETIME(6) DEFAULT LEAST(p_until, v_began + INTERVAL IF(p_is_held, LEAST(p_sleep_seconds, 1), 1) SECOND);
  DECLARE v_top BIGINT UNSIGNED;

  sleep: LOOP
    DO SLEEP(LEAST(p_sleep_seconds, v_longest_sleep_seconds));
    SET p_sleep_seconds = GREATEST(p_sleep_seconds, LEAST(p_sleep_seconds * IF(p_is_held OR p_sleep_seconds < v_soon_seconds, 1.5, 1.001), v_longest_seconds));
    -- Under autocommit there is no transaction to end; ending one would be a third of what an idle relay costs.
    IF @@autocommit THEN
      SELECT COALESCE(MAX(id), 0) INTO v_top FROM agent_outbox_messages;
    ELSE
      SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
      SELECT COALESCE(MAX(id), 0) INTO v_top FROM agent_outbox_messages;
      COMMIT AND NO CHAIN NO RELEASE;
    END IF;
    -- Earlier than it began: the clock was set back.
    IF v_top > p_top OR UTC_TIMESTAMP(6) NOT BETWEEN v_began AND v_until THEN
      LEAVE sleep;
    END IF;
  END LOOP;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (516, 'V0516__internal_wait_for_work_v1.sql');
