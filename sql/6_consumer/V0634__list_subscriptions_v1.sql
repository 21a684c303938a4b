SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_list_subscriptions_v1;

DELIMITER $$

CREATE PROCEDURE outbox_list_subscriptions_v1 (
  IN p_limit INT
)
COMMENT '
Lists the subscriptions to records of others.

Parameters
  p_limit INT: rows at most; NULL or 0: 100

Result set, by source and event_type: source, event_type, biz_type, handler, takes_bytes, subscribed_at, received_at. handler is NULL
where the business type has lost its handler: what is received then becomes a dead letter. received_at is when a record has
come last, to the minute, or NULL. Times are in UTC.

Errors
  30005 p_limit is negative

Called by: operators. Reads only; transaction: the caller''s.

Example
  mysql> CALL outbox_list_subscriptions_v1(NULL);
  +-----------------+--------------+------------+---------------+-------------+----------------------------+-------------+
  | source          | event_type   | biz_type   | handler       | takes_bytes | subscribed_at              | received_at |
  +-----------------+--------------+------------+---------------+-------------+----------------------------+-------------+
  | /outboxd/shop/% | order_placed | ship_order | ship_order_v1 |           0 | 2026-01-01 12:00:00.123456 | NULL        |
  +-----------------+--------------+------------+---------------+-------------+----------------------------+-------------+
'
SQL SECURITY DEFINER
READS SQL DATA
BEGIN
  DECLARE v_limit INT DEFAULT COALESCE(NULLIF(p_limit, 0), 100);

  IF v_limit < 0 THEN
    CALL outbox_internal_raise_v1(30005, CONCAT('p_limit must not be negative: ', p_limit));
  END IF;
  SELECT s.source, s.event_type, s.biz_type, t.handler, COALESCE(t.takes_bytes, FALSE) AS takes_bytes, s.subscribed_at, s.received_at
    FROM outbox_subscriptions AS s
    LEFT JOIN outbox_biz_types AS t ON t.biz_type = s.biz_type
   ORDER BY s.source, s.event_type
   LIMIT v_limit;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (634, 'V0634__list_subscriptions_v1.sql');
