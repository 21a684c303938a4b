SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_cut_batch_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_cut_batch_v1 (
  IN p_most INT,
  OUT p_last_id BIGINT UNSIGNED
)
COMMENT '
Cuts the batch to what fits into one transaction of the server, with as much again for what the handlers write. The later
messages are not reached, so that the next call takes them.
Internal: outbox_consume_v1 calls it, where the server has a limit (max_binlog_cache_size) or has found the transaction
too large.

Parameters
  p_most INT: messages at most
  OUT p_last_id BIGINT UNSIGNED: the last one that stays; NULL: there was nothing to do

Reads and changes outbox_batch. Transaction: the caller''s.

Example
  mysql> CALL outbox_internal_cut_batch_v1(100, @last_id);
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_half_of_the_limit BIGINT UNSIGNED DEFAULT @@GLOBAL.max_binlog_cache_size DIV 8 * 3;
  DECLARE v_default_bytes BIGINT UNSIGNED DEFAULT 33554432;
  DECLARE v_ids JSON;
  DECLARE v_messages INT;
  DECLARE v_bytes BIGINT UNSIGNED;

  SELECT JSON_ARRAYAGG(first.id)
    INTO v_ids
    FROM (SELECT id FROM outbox_batch WHERE outcome = 'todo' ORDER BY id LIMIT p_most) AS first;
  CALL outbox_internal_fit_v1(v_ids, LEAST(v_default_bytes, v_half_of_the_limit), v_messages, v_bytes);
  SET p_last_id = JSON_EXTRACT(v_ids, '$[last]');
  UPDATE outbox_batch SET outcome = 'not reached' WHERE outcome = 'todo' AND id > p_last_id;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (612, 'V0612__internal_cut_batch_v1.sql');
