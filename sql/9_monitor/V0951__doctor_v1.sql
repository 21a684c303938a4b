SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_doctor_v1;

DELIMITER $$

CREATE PROCEDURE outbox_doctor_v1 ()
COMMENT '
Finds what is wrong with this outbox, as far as this server knows, and what to do about it: the definer''s rights, a server
that is read only, indexes and rows that are gone, handlers, messages that fail, open transactions, relays, pauses,
consumers, growth. `outboxd doctor` shows it, and asks Kafka, too.

Result set
  level  ok, warning or error
  kind   what was examined
  what   its state
  to_do  what to do about it, in one line; NULL where it is ok

What cannot be examined is a warning of its own and does not keep it from the rest. It has no payloads, and of errors not what they
quote.

Errors
  30006 called inside a transaction

Called by: relays, consumers, operators, monitoring. Owns its transactions; changes nothing. Cost: reads indexes, at most 10,000
entries of each kind, and information_schema: 50 ms.

Example
  mysql> CALL outbox_doctor_v1();
  +---------+--------+--------------------------------------------------+---------------------------------------------+
  | level   | kind   | what                                             | to_do                                       |
  +---------+--------+--------------------------------------------------+---------------------------------------------+
  | ok      | relays | 2 are alive, nothing is due                      | NULL                                        |
  | warning | pauses | topic chat is paused since 2026-01-01 12:00:00 … | when it may go on: outboxd resume --topic … |
  +---------+--------+--------------------------------------------------+---------------------------------------------+
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_findings JSON DEFAULT JSON_ARRAY();
  DECLARE v_errno INT;
  DECLARE v_error TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;

  CALL outbox_internal_require_no_transaction_v1('outbox_doctor_v1');
  BEGIN
    DECLARE CONTINUE HANDLER FOR SQLEXCEPTION
    BEGIN
      GET STACKED DIAGNOSTICS CONDITION 1 v_errno = MYSQL_ERRNO, v_error = MESSAGE_TEXT;
      ROLLBACK AND NO CHAIN NO RELEASE;
      CALL outbox_internal_tell_v1(v_findings, 'warning', 'not examined', CONCAT('error ', v_errno, ': ', v_error),
        'see to that error, and look again');
    END;
    CALL outbox_internal_examine_definer_v1(v_findings);
    CALL outbox_internal_examine_server_v1(v_findings);
    CALL outbox_internal_examine_tables_v1(v_findings);
    CALL outbox_internal_examine_handlers_v1(v_findings);
    CALL outbox_internal_examine_failing_v1(v_findings);
    CALL outbox_internal_examine_open_transactions_v1(v_findings);
    CALL outbox_internal_examine_relays_v1(v_findings);
    CALL outbox_internal_examine_pauses_v1(v_findings);
    CALL outbox_internal_examine_consumers_v1(v_findings);
    CALL outbox_internal_examine_inbox_v1(v_findings);
    CALL outbox_internal_examine_growth_v1(v_findings);
  END;
  COMMIT AND NO CHAIN NO RELEASE;
  SELECT found.level, found.kind, found.what, found.to_do
    FROM JSON_TABLE(v_findings, '$[*]' COLUMNS (
           place FOR ORDINALITY,
           level VARCHAR(8) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin PATH '$.level',
           kind VARCHAR(320) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin PATH '$.kind',
           what TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin PATH '$.what',
           to_do TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin PATH '$.to_do')) AS found
   ORDER BY found.place;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (951, 'V0951__doctor_v1.sql');
