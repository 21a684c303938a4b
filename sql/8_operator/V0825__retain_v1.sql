SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_retain_v1;

DELIMITER $$

CREATE PROCEDURE outbox_retain_v1 (
  IN p_keep_seconds INT,
  IN p_limit INT
)
COMMENT '
Purges what is older than that, consumed messages and dedup keys, as the event outbox_retention does each minute. Its rows
of outbox_audit become one a day for each account, with the action retention and the sums of that day, so that the audit is
about people.

Parameters
  p_keep_seconds INT: how long to keep, at least 60
  p_limit INT: messages at most, and as many dedup keys, up to 1000000; NULL or 0: 1000

Result sets: those of outbox_purge_v1 and outbox_purge_dedup_keys_v1.

Errors
  30005 p_keep_seconds or p_limit is out of range; 30006 called inside a transaction

Called by: operators, the event outbox_retention. Owns its transactions (READ COMMITTED); if it is cut off, what is
committed stays, with its own rows in outbox_audit.

Example
  mysql> CALL outbox_retain_v1(604800, 100000);
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_shortest INT DEFAULT 60;
  DECLARE v_last_audit_id, v_day_id, v_messages, v_keys BIGINT UNSIGNED;
  DECLARE v_rows JSON;

  IF COALESCE(p_keep_seconds, 0) < v_shortest THEN
    CALL outbox_internal_raise_v1(30005, CONCAT('p_keep_seconds must be 60 or more: ', COALESCE(p_keep_seconds, 'NULL')));
  END IF;
  CALL outbox_internal_require_no_transaction_v1('outbox_retain_v1');
  SELECT COALESCE(MAX(id), 0) INTO v_last_audit_id FROM outbox_audit;
  COMMIT AND NO CHAIN NO RELEASE;
  CALL outbox_purge_v1(UTC_TIMESTAMP(6) - INTERVAL p_keep_seconds SECOND, p_limit);
  CALL outbox_purge_dedup_keys_v1(UTC_TIMESTAMP(6) - INTERVAL p_keep_seconds SECOND, p_limit);
  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION
    BEGIN
      ROLLBACK AND NO CHAIN NO RELEASE;
      RESIGNAL;
    END;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    START TRANSACTION;
    SELECT /*+ SET_VAR(sql_big_selects = 1) */ JSON_ARRAYAGG(id), SUM(JSON_EXTRACT(details, '$.messages')), SUM(JSON_EXTRACT(details, '$.keys'))
      INTO v_rows, v_messages, v_keys
      FROM outbox_audit
     WHERE id > v_last_audit_id
       AND account = USER()
       AND action IN ('purge', 'purge_dedup_keys');
    IF v_rows IS NOT NULL THEN
      -- From the latest row back: of the retention there is one row a day, and of people few.
      SELECT MAX(latest.id) INTO v_day_id
        FROM (
          SELECT id, at
            FROM outbox_audit
           WHERE action = 'retention'
             AND account = USER()
           ORDER BY id DESC
           LIMIT 1
        ) AS latest
       WHERE DATE(latest.at) = UTC_DATE();
      IF v_day_id IS NULL THEN
        CALL outbox_internal_audit_v1('retention', JSON_OBJECT('keep_seconds', p_keep_seconds, 'messages', v_messages, 'keys', v_keys), v_day_id);
      ELSE
        UPDATE outbox_audit
           SET details = JSON_SET(details, '$.keep_seconds', p_keep_seconds,
                 '$.messages', COALESCE(JSON_EXTRACT(details, '$.messages'), 0) + COALESCE(v_messages, 0),
                 '$.keys', COALESCE(JSON_EXTRACT(details, '$.keys'), 0) + COALESCE(v_keys, 0))
         WHERE id = v_day_id;
      END IF;
      DELETE /*+ SET_VAR(sql_big_selects = 1) */ a
        FROM JSON_TABLE(v_rows, '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$')) AS folded
        STRAIGHT_JOIN outbox_audit AS a FORCE INDEX (PRIMARY) ON a.id = folded.id;
    END IF;
    COMMIT AND NO CHAIN NO RELEASE;
  END;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (825, 'V0825__retain_v1.sql');
