SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_inbox_v1;

DELIMITER $$

CREATE PROCEDURE outbox_inbox_v1 ()
COMMENT '
Tells a consumer whether records of others can take effect here, and which topics it has to read for the sake of those that did not at once.

Result set: one row: subscriptions, how many there are; retry_topics, a JSON array of the topics in which received messages are
sent again, or NULL.

Called by: consumers. Reads only; transaction: the caller''s.

Example
  mysql> CALL outbox_inbox_v1();
  +---------------+-----------------------------+
  | subscriptions | retry_topics                |
  +---------------+-----------------------------+
  |             1 | ["orders.outboxd.shipping"] |
  +---------------+-----------------------------+
'
SQL SECURITY DEFINER
READS SQL DATA
BEGIN
  SELECT (SELECT COUNT(*) FROM outbox_subscriptions) AS subscriptions,
         (SELECT JSON_ARRAYAGG(topic) FROM outbox_retry_topics) AS retry_topics;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (633, 'V0633__inbox_v1.sql');
