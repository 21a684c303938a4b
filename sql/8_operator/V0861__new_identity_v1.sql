SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_new_identity_v1;

DELIMITER $$

CREATE PROCEDURE outbox_new_identity_v1 ()
COMMENT '
Gives this outbox a new UUID, and with it a new source and consumer group: for a database that was copied from one that
goes on working. A database that was restored, or that took over from its source, keeps its identity.
Stop the daemons of the copy first. Records under the old source are foreign to it from here on; what it had published
and not consumed is sent again by outbox_recover_published_v1.

Result set: as of outbox_identity_v1.

Errors
  30006 called inside a transaction

Called by: operators. Owns its transaction (READ COMMITTED). Writes to outbox_audit.

Example
  mysql> CALL outbox_new_identity_v1();
  +--------------------------------------+------------------------+------------------+
  | installation_id                      | source                 | consumer_group   |
  +--------------------------------------+------------------------+------------------+
  | 8a90b1c2-c0df-11f0-9d2c-0242ac120002 | /outboxd/shop/8a90b1c2 | outboxd-8a90b1c2 |
  +--------------------------------------+------------------------+------------------+
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_audit_id BIGINT UNSIGNED;
  DECLARE v_before CHAR(36) CHARACTER SET ascii COLLATE ascii_bin;

  CALL outbox_internal_require_no_transaction_v1('outbox_new_identity_v1');
  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION
    BEGIN
      ROLLBACK;
      RESIGNAL;
    END;
    START TRANSACTION;
    SELECT MAX(installation_id) INTO v_before FROM outbox_installation FOR UPDATE;
    UPDATE outbox_installation SET installation_id = UUID(), made_at = UTC_TIMESTAMP(6);
    CALL outbox_internal_audit_v1('new_identity', JSON_OBJECT(
      'before', v_before, 'after', (SELECT installation_id FROM outbox_installation)), v_audit_id);
    COMMIT;
  END;
  CALL outbox_identity_v1();
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (861, 'V0861__new_identity_v1.sql');
