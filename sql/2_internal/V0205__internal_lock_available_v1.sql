SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_lock_available_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_lock_available_v1 (
  INOUT p_ids JSON,
  IN p_status VARCHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin
)
COMMENT '
Locks those of the given messages that have this status and that no other transaction has locked. It waits for no
lock: so a caller that has locked other messages cannot become part of a deadlock, and an operator''s batch cannot
hold up a claim or a consumer for longer than itself.
Internal: outbox_internal_requeue_followers_v1 and the operator''s routines that change many messages call it.

Parameters
  INOUT p_ids JSON: array of ids, in any order; comes back with those that are locked now, in any order, NULL if none
  p_status VARCHAR(32): the status that they must have

Transaction: the caller''s, READ COMMITTED.

Example
  mysql> SET @ids = ''[1, 2, 3]'';
  mysql> CALL outbox_internal_lock_available_v1(@ids, ''dead'');
'
SQL SECURITY DEFINER
READS SQL DATA
BEGIN
  SELECT /*+ SET_VAR(sql_big_selects = 1) */ JSON_ARRAYAGG(m.id)
    INTO p_ids
    FROM JSON_TABLE(p_ids, '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$')) AS given
    STRAIGHT_JOIN agent_outbox_messages AS m FORCE INDEX (PRIMARY) ON m.id = given.id
   WHERE m.status = p_status
     FOR UPDATE OF m SKIP LOCKED;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (205, 'V0205__internal_lock_available_v1.sql');
