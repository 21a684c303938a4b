SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_internal_examine_definer_v1;

DELIMITER $$

CREATE PROCEDURE outbox_internal_examine_definer_v1 (
  INOUT p_findings JSON
)
COMMENT '
Examines the account whose rights all procedures have, the definer: whether it has those on the tables, by trying each on
no row; and whether all procedures have the same one.
Internal: outbox_doctor_v1 calls it.

Parameters
  INOUT p_findings JSON: what was found so far, see outbox_internal_tell_v1; comes back with more

Owns its transaction; changes nothing.

Example
  mysql> SET @findings = JSON_ARRAY();
  mysql> CALL outbox_internal_examine_definer_v1(@findings);
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_lacks TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;
  DECLARE v_others INT;
  DECLARE v_one, v_other TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;
  DECLARE v_count INT;
  DECLARE v_definer TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin DEFAULT CONCAT(
    QUOTE(LEFT(CURRENT_USER(), CHAR_LENGTH(CURRENT_USER()) - CHAR_LENGTH(SUBSTRING_INDEX(CURRENT_USER(), '@', -1)) - 1)),
    '@', QUOTE(SUBSTRING_INDEX(CURRENT_USER(), '@', -1)));

  START TRANSACTION;
  BEGIN
    -- Of other errors, such as those of a read only server, the other examinations tell.
    DECLARE CONTINUE HANDLER FOR SQLEXCEPTION BEGIN END;
    BEGIN
      DECLARE EXIT HANDLER FOR 1044, 1142, 1143 SET v_lacks = CONCAT_WS(', ', v_lacks, 'SELECT');
      SELECT COUNT(*) INTO v_count FROM agent_outbox_messages WHERE id = 0;
    END;
    BEGIN
      DECLARE EXIT HANDLER FOR 1044, 1142, 1143 SET v_lacks = CONCAT_WS(', ', v_lacks, 'INSERT');
      INSERT INTO outbox_slots (slot) SELECT n.slot FROM (SELECT 0 AS slot) AS n WHERE FALSE;
    END;
    BEGIN
      DECLARE EXIT HANDLER FOR 1044, 1142, 1143 SET v_lacks = CONCAT_WS(', ', v_lacks, 'UPDATE');
      UPDATE agent_outbox_messages SET retry_count = 0 WHERE id = 0;
    END;
    BEGIN
      DECLARE EXIT HANDLER FOR 1044, 1142, 1143 SET v_lacks = CONCAT_WS(', ', v_lacks, 'DELETE');
      DELETE FROM agent_outbox_messages WHERE id = 0;
    END;
    BEGIN
      DECLARE EXIT HANDLER FOR 1044, 1142, 1143 SET v_lacks = CONCAT_WS(', ', v_lacks, 'CREATE TEMPORARY TABLES');
      CREATE TEMPORARY TABLE outbox_examined (n INT PRIMARY KEY) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;
      DROP TEMPORARY TABLE outbox_examined;
    END;
  END;
  ROLLBACK AND NO CHAIN NO RELEASE;
  CALL outbox_internal_tell_v1(p_findings, 'error', 'definer',
    CONCAT('the procedures run with the rights of ', v_definer, ', which lacks ', v_lacks),
    CONCAT('GRANT ', v_lacks, ' ON `', DATABASE(), '`.* TO ', v_definer));
  -- A search of the optimizer that stops early reads all routines of the server for each file.
  SELECT /*+ SET_VAR(optimizer_search_depth = 62) SET_VAR(sql_big_selects = 1) */ COUNT(*), MIN(routine_name), MIN(definer)
    INTO v_others, v_one, v_other
    FROM information_schema.routines
   WHERE routine_schema = DATABASE()
     AND definer <> CURRENT_USER()
     AND EXISTS (
       SELECT 1
         FROM outbox_migrations AS m
        WHERE CONCAT('outbox_', REGEXP_REPLACE(m.file, '^V[0-9]+__|[.]sql$', '')) = routine_name);
  IF v_others > 0 THEN
    CALL outbox_internal_tell_v1(p_findings, 'warning', 'definer',
      CONCAT(v_others, ' procedures, the first is ', v_one, ', run with the rights of ', v_other, ', the others with those of ', v_definer),
      CONCAT('if that account is gone, their calls fail (error 1449): drop these, and run `outboxd migrate` as ', v_definer));
  ELSEIF v_lacks IS NULL THEN
    CALL outbox_internal_tell_v1(p_findings, 'ok', 'definer', CONCAT(v_definer, ' has the rights that the procedures need'), NULL);
  END IF;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (932, 'V0932__internal_examine_definer_v1.sql');
