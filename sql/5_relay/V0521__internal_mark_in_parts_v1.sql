SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_mark_in_parts_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_mark_in_parts_v1 (
  IN p_relay VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_messages LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_mark VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  OUT p_marked INT
)
COMMENT '
Marks a relay''s batch by outbox_internal_mark_batch_v1: in one transaction if the server takes it, else in parts, each of
half as many messages. A message that is too large by itself goes dead (outbox_internal_bury_v1).
Internal: outbox_mark_published_batch_v1, outbox_mark_failed_batch_v1 and outbox_mark_dead_batch_v1 call it.

Parameters
  p_relay VARCHAR(128): the relay
  p_messages LONGTEXT: JSON array of {"id", "receipt"} as outbox_claim_v1 returned them, by ascending id, and "reason"
    where the mark is failed or dead
  p_mark VARCHAR(16): published, failed or dead
  OUT p_marked INT: how many messages changed

Errors
  30003 p_messages is not JSON

Transaction: joins the caller''s, who must have begun it READ COMMITTED, and does not divide it; has its own under
autocommit.

Example
  mysql> CALL outbox_internal_mark_in_parts_v1(''relay-a'',
      ->   ''[{"id":1,"receipt":"2026-01-01 12:00:00.123456"}]'', ''published'', @marked);
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_given, v_at, v_messages, v_marked, v_skipped INT DEFAULT 0;
  DECLARE v_errno INT;
  DECLARE v_most BIGINT UNSIGNED;
  DECLARE v_part LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;
  DECLARE v_error TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;
  DECLARE v_row_image, v_verdict VARCHAR(8) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;
  DECLARE v_is_own_transaction BOOLEAN DEFAULT FALSE;

  IF NOT COALESCE(JSON_VALID(p_messages), FALSE) THEN
    CALL outbox_internal_raise_v1(30003, CONCAT('p_messages is not valid JSON: ', COALESCE(LEFT(p_messages, 80), 'NULL')));
  END IF;
  SET v_given = JSON_LENGTH(p_messages);
  SET p_marked = 0;
  CALL outbox_internal_begin_v1(v_is_own_transaction);
  IF v_is_own_transaction THEN
    COMMIT AND NO CHAIN NO RELEASE;
  END IF;
  CALL outbox_internal_spare_images_v1(v_row_image);
  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION
    BEGIN
      CALL outbox_internal_spare_images_v1(v_row_image);
      RESIGNAL;
    END;
    WHILE v_at < v_given DO
      BEGIN
        DECLARE EXIT HANDLER FOR SQLEXCEPTION
        BEGIN
          GET STACKED DIAGNOSTICS CONDITION 1 v_errno = MYSQL_ERRNO, v_error = MESSAGE_TEXT;
          IF NOT v_is_own_transaction THEN
            RESIGNAL;
          END IF;
          CALL outbox_internal_shrink_v1(v_errno, v_messages, v_messages, v_most, v_skipped, v_verdict);
          IF v_verdict = 'raise' THEN
            RESIGNAL;
          ELSEIF v_verdict = 'alone' THEN
            CALL outbox_internal_bury_v1(JSON_EXTRACT(p_messages, CONCAT('$[', v_at, '].id')), v_error);
            SET v_at = v_at + 1;
          END IF;
        END;
        SET v_messages = LEAST(COALESCE(v_most, v_given), v_given - v_at);
        SET v_part = p_messages;
        IF v_messages < v_given THEN
          SET v_part = JSON_EXTRACT(p_messages, CONCAT('$[', v_at, ' to ', v_at + v_messages - 1, ']'));
        END IF;
        CALL outbox_internal_mark_batch_v1(p_relay, v_part, p_mark, v_marked);
        SET p_marked = p_marked + v_marked;
        SET v_at = v_at + v_messages;
      END;
    END WHILE;
  END;
  CALL outbox_internal_spare_images_v1(v_row_image);
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (521, 'V0521__internal_mark_in_parts_v1.sql');
