SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_wait_v1;

DELIMITER $$

CREATE PROCEDURE outbox_wait_v1 (
  IN p_id BIGINT UNSIGNED,
  IN p_wait_ms INT,
  OUT p_status VARCHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin
)
COMMENT '
Waits until a message has taken effect, so that its sender can read what it has written: until the message is consumed or
dead, or the time is up. It looks every 10 ms, and holds nothing meanwhile but its connection.

Parameters
  p_id BIGINT UNSIGNED: the message, whose transaction has committed
  p_wait_ms INT: 0 to 60000; NULL: 0, it only looks
  OUT p_status VARCHAR(32): consumed or dead; or pending or published, where the time was up before

Errors
  30004 there is no such message, or it was purged meanwhile
  30005 p_wait_ms is out of range
  30006 called inside a transaction: that would not see what others commit

Called by: applications. Owns its transactions (READ COMMITTED); changes nothing.

Example
  mysql> CALL outbox_wait_v1(1, 5000, @status);
  mysql> SELECT @status;
  +----------+
  | @status  |
  +----------+
  | consumed |
  +----------+
'
SQL SECURITY DEFINER
READS SQL DATA
BEGIN
  DECLARE v_began DATETIME(6) DEFAULT UTC_TIMESTAMP(6);
  DECLARE v_until DATETIME(6) DEFAULT v_began + INTERVAL COALESCE(p_wait_ms, 0) * 1000 MICROSECOND;
  DECLARE v_sleep_seconds DOUBLE DEFAULT 0.01;

  IF COALESCE(p_wait_ms, 0) NOT BETWEEN 0 AND 60000 THEN
    CALL outbox_internal_raise_v1(30005, CONCAT('p_wait_ms must be from 0 to 60000: ', p_wait_ms));
  END IF;
  look: LOOP
    CALL outbox_internal_require_no_transaction_v1('outbox_wait_v1');
    START TRANSACTION;
    SELECT MAX(status) INTO p_status FROM agent_outbox_messages WHERE id = p_id;
    COMMIT AND NO CHAIN NO RELEASE;
    -- Earlier than it began: the clock was set back.
    IF COALESCE(p_status IN ('consumed', 'dead'), TRUE) OR UTC_TIMESTAMP(6) NOT BETWEEN v_began AND v_until - INTERVAL 1 MICROSECOND THEN
      LEAVE look;
    END IF;
    DO SLEEP(v_sleep_seconds);
  END LOOP;
  IF p_status IS NULL THEN
    CALL outbox_internal_require_message_v1(p_id);
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (312, 'V0312__wait_v1.sql');
