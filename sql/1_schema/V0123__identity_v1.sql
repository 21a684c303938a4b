SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_identity_v1;

DELIMITER $$

CREATE PROCEDURE outbox_identity_v1 ()
COMMENT '
Returns who this outbox is: its UUID, and the CloudEvents source and the consumer group that follow from it. The daemon
uses these two where its settings have none.

Result set, one row
  installation_id  the UUID, made by the first installation or by outbox_new_identity_v1
  source           /outboxd/<database>/<first 8 digits of the UUID>
  consumer_group   outboxd-<first 8 digits of the UUID>

Called by: relays, consumers, operators, monitoring. Reads only; transaction: the caller''s.

Example
  mysql> CALL outbox_identity_v1();
  +--------------------------------------+------------------------+------------------+
  | installation_id                      | source                 | consumer_group   |
  +--------------------------------------+------------------------+------------------+
  | 6f1c2a3b-c0de-11f0-9d2c-0242ac120002 | /outboxd/shop/6f1c2a3b | outboxd-6f1c2a3b |
  +--------------------------------------+------------------------+------------------+
'
SQL SECURITY DEFINER
READS SQL DATA
BEGIN
  DECLARE v_digits INT DEFAULT 8;
  SELECT installation_id,
         CONCAT('/outboxd/', DATABASE(), '/', LEFT(installation_id, v_digits)) AS source,
         CONCAT('outboxd-', LEFT(installation_id, v_digits)) AS consumer_group
    FROM outbox_installation;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (123, 'V0123__identity_v1.sql');
