SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_purge_dead_v1;

DELIMITER $$

CREATE PROCEDURE outbox_purge_dead_v1 (
  IN p_before DATETIME(6),
  IN p_limit INT
)
COMMENT '
Deletes old dead letters: outbox_discard_dead_v1 by age alone. Unlike outbox_purge_v1 it deletes messages that never
took effect.

Parameters
  p_before DATETIME(6): delete what died before this time, UTC
  p_limit INT: messages at most, up to 1000000; NULL or 0: 1000

Result set: deleted, the number.

Errors
  30001 p_before is NULL; 30005 p_limit is out of range; 30006 called inside a transaction

Called by: operators. Owns its transactions (READ COMMITTED), one for at most 1000 messages (fewer if they are large:
outbox_internal_fit_v1). Writes one row to outbox_audit, of the action discard_dead.

Example
  mysql> CALL outbox_purge_dead_v1(UTC_TIMESTAMP(6) - INTERVAL 30 DAY, 1000);
  +---------+
  | deleted |
  +---------+
  |      12 |
  +---------+
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_deleted INT;
  IF p_before IS NULL THEN
    CALL outbox_internal_raise_v1(30001, 'p_before must not be NULL');
  END IF;
  CALL outbox_discard_dead_v1(NULL, NULL, NULL, NULL, p_before, p_limit, v_deleted);
  SELECT v_deleted AS deleted;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (822, 'V0822__purge_dead_v1.sql');
