SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_check_received_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_check_received_v1 ()
COMMENT '
Looks at the values of received records, and notes which cannot be a payload.
Internal: outbox_receive_v1 calls it, for what stands in the session''s temporary table outbox_received with outcome new.

Transaction: the caller''s.

Example
  mysql> CALL outbox_internal_check_received_v1();
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_to_check JSON;
  DECLARE v_checked INT DEFAULT 0;

  BEGIN
    -- Of JSON that is nested too deep, JSON_VALID raises 3157 for all rows of the statement: then each by itself.
    DECLARE EXIT HANDLER FOR 3157
      SELECT JSON_ARRAYAGG(position) INTO v_to_check FROM outbox_received WHERE outcome = 'new' AND NOT is_text;
    UPDATE /*+ SET_VAR(sql_safe_updates = 0) */ outbox_received
       SET is_text = TRUE,
           error = COALESCE(error, 'its value is no JSON')
     WHERE outcome = 'new'
       AND NOT is_text
       AND NOT JSON_VALID(payload);
  END;
  WHILE v_checked < COALESCE(JSON_LENGTH(v_to_check), 0) DO
    BEGIN
      DECLARE EXIT HANDLER FOR 3157
        UPDATE outbox_received
           SET is_text = TRUE,
               error = COALESCE(error, 'its value is JSON that is nested deeper than 100 levels')
         WHERE position = JSON_EXTRACT(v_to_check, CONCAT('$[', v_checked, ']'));
      UPDATE outbox_received
         SET is_text = TRUE,
             error = COALESCE(error, 'its value is no JSON')
       WHERE position = JSON_EXTRACT(v_to_check, CONCAT('$[', v_checked, ']'))
         AND NOT JSON_VALID(payload);
    END;
    SET v_checked = v_checked + 1;
  END WHILE;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (621, 'V0621__internal_check_received_v1.sql');
