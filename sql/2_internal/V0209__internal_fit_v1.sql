SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_fit_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_fit_v1 (
  INOUT p_ids JSON,
  IN p_most_bytes BIGINT UNSIGNED,
  OUT p_messages INT,
  OUT p_bytes BIGINT UNSIGNED
)
COMMENT '
Cuts a batch to what fits into one transaction of the server: from the front as many messages as stay within the bound,
and at least one. Counted is what the binary log writes to change a row: the row before and after, each with the payload.
Internal: whatever changes many messages in one transaction calls it; outbox_claim_v1, so that the relay''s mark of the
whole batch fits.

Parameters
  INOUT p_ids JSON: array of ids; comes back cut. NULL: none
  p_most_bytes BIGINT UNSIGNED: the bound in bytes; NULL: that of outbox_set_transaction_bytes_v1. Three quarters of max_binlog_cache_size are the bound if they are
    less: it has no limit by default, and no handler of a procedure catches its error, 1197
  OUT p_messages INT: how many are left
  OUT p_bytes BIGINT UNSIGNED: their bytes

The ids must ascend. JSON_ARRAYAGG promises no order; it takes the rows as they reach it, and those of a derived table with
ORDER BY and LIMIT reach it in that order. The routines that cut a batch here make it from such a table.

It reads the payloads of twice as many messages as fit, at most. Transaction: the caller''s; no locks.

Example
  mysql> SET @ids = ''[1, 2, 3]'';
  mysql> CALL outbox_internal_fit_v1(@ids, NULL, @messages, @bytes);
'
SQL SECURITY DEFINER
READS SQL DATA
BEGIN
  DECLARE v_most_bytes BIGINT UNSIGNED DEFAULT p_most_bytes;
  -- Of an outbox that has lost its row of outbox_installation.
  DECLARE v_default_bytes BIGINT UNSIGNED DEFAULT 33554432;
  -- Of a row: everything but its texts, and the headers of its event.
  DECLARE v_row_bytes INT DEFAULT 256;
  DECLARE v_images INT DEFAULT 2;
  DECLARE v_given INT DEFAULT COALESCE(JSON_LENGTH(p_ids), 0);
  DECLARE v_from INT DEFAULT 0;
  DECLARE v_width INT DEFAULT 256;
  DECLARE v_seen, v_fitting INT;
  DECLARE v_fitting_bytes BIGINT UNSIGNED;

  SET p_messages = 0, p_bytes = 0;
  IF v_most_bytes IS NULL THEN
    SELECT MAX(transaction_bytes) INTO v_most_bytes FROM outbox_installation;
  END IF;
  SET v_most_bytes = LEAST(COALESCE(v_most_bytes, v_default_bytes), @@GLOBAL.max_binlog_cache_size DIV 4 * 3);
  -- In steps that grow, so that payloads which the bound cuts off are not all read to be counted.
  count_on: WHILE v_from < v_given DO
    SELECT /*+ SET_VAR(sql_big_selects = 1) */ COUNT(*), COALESCE(SUM(up_to.is_fitting), 0), MAX(IF(up_to.is_fitting, up_to.bytes, NULL))
      INTO v_seen, v_fitting, v_fitting_bytes
      FROM (
        SELECT counted.bytes,
               p_bytes + counted.bytes <= v_most_bytes OR (v_from = 0 AND counted.place = 1) AS is_fitting
          FROM (
            SELECT given.place,
                   SUM(v_images * (v_row_bytes + COALESCE(LENGTH(m.payload) + LENGTH(m.message_key) + LENGTH(m.topic)
                     + COALESCE(LENGTH(m.body), 0) + COALESCE(LENGTH(m.last_error), 0) + COALESCE(JSON_STORAGE_SIZE(m.headers), 0), 0)))
                     OVER (ORDER BY given.place ROWS UNBOUNDED PRECEDING) AS bytes
              FROM JSON_TABLE(
                     JSON_EXTRACT(p_ids, CONCAT('$[', v_from, ' to ', v_from + v_width - 1, ']')),
                     '$[*]' COLUMNS (place FOR ORDINALITY, id BIGINT UNSIGNED PATH '$')) AS given
              LEFT JOIN agent_outbox_messages AS m FORCE INDEX (PRIMARY) ON m.id = given.id
          ) AS counted
      ) AS up_to;
    SET p_messages = p_messages + v_fitting;
    SET p_bytes = p_bytes + COALESCE(v_fitting_bytes, 0);
    IF v_fitting < v_seen THEN
      SET p_ids = JSON_EXTRACT(p_ids, CONCAT('$[0 to ', p_messages - 1, ']'));
      LEAVE count_on;
    END IF;
    SET v_from = v_from + v_width;
    SET v_width = v_width * 2;
  END WHILE;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (209, 'V0209__internal_fit_v1.sql');
