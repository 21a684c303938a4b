SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_next_batch_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_next_batch_v1 (
  IN p_relay VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_limit INT,
  IN p_owned INT,
  OUT p_top BIGINT UNSIGNED,
  OUT p_batch JSON,
  OUT p_is_held BOOLEAN
)
COMMENT '
Finds the next batch of a relay: finds the ids that are unsettled, reads the heads, and holds back what must wait.
Internal: outbox_claim_v1 calls it.

Two loops widen the search, each against a way in which few messages could hide many. Inside
outbox_internal_read_heads_v1 every slot gives the same number of heads; where that leaves the batch half empty, the
slots that had more give more, up to the whole batch from one hot slot. Here, where what is held back fills the batch,
more heads are read: behind an open transaction with many messages are those of other lanes.

Parameters
  p_relay VARCHAR(128): the relay
  p_limit INT: how many messages are wanted
  p_owned INT: how many slots the relay owns
  OUT p_top BIGINT UNSIGNED: the last id that was committed when the search began
  OUT p_batch JSON: [[id, lane], ...] in any order, possibly more than p_limit; NULL: there is nothing to send
  OUT p_is_held BOOLEAN: whether messages were held back

Owns its transactions; changes nothing.

Example
  mysql> CALL outbox_internal_next_batch_v1(''relay-a'', 1000, 64, @top, @batch, @is_held);
'
SQL SECURITY DEFINER
READS SQL DATA
BEGIN
  DECLARE v_widest INT DEFAULT 100000;
  DECLARE v_wide INT DEFAULT p_limit;
  DECLARE v_read INT;
  DECLARE v_uncommitted JSON;
  DECLARE v_missing_id BIGINT UNSIGNED;

  widen: LOOP
    CALL outbox_internal_find_unsettled_v1(p_top, v_uncommitted, v_missing_id);
    CALL outbox_internal_read_heads_v1(p_relay, v_wide, p_owned, p_top, p_batch);
    SET v_read = COALESCE(JSON_LENGTH(p_batch), 0);
    CALL outbox_internal_hold_back_v1(p_batch, v_uncommitted, v_missing_id, p_is_held);
    IF NOT p_is_held OR v_read * 2 < v_wide OR COALESCE(JSON_LENGTH(p_batch), 0) * 2 >= p_limit OR v_wide >= v_widest THEN
      LEAVE widen;
    END IF;
    SET v_wide = LEAST(v_wide * 4, v_widest);
  END LOOP;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (514, 'V0514__internal_next_batch_v1.sql');
