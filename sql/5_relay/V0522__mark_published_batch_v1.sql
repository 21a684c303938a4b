SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_mark_published_batch_v1;

DELIMITER $$

CREATE PROCEDURE outbox_mark_published_batch_v1 (
  IN p_relay VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_messages LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  OUT p_marked INT
)
COMMENT '
pending to published for many messages at once, fenced: only where the relay still owns the message''s slot under a
live lease, and only for the claim that handed the message out. Everything else stays as it is. Where the business type
has no handler, registered or not, Kafka''s acknowledgement is all there is to do: pending to consumed.

Parameters
  p_relay VARCHAR(128): the relay
  p_messages LONGTEXT: JSON array of {"id", "receipt"} as outbox_claim_v1 returned them, by ascending id, with
    "partition" and "offset" of the record as Kafka has told them; these may be left out
  OUT p_marked INT: how many messages changed; fewer than given is no error: a slot was lost, or the consumer was
    faster than this mark

Errors
  30003 p_messages is not JSON

Called by: relays. Transaction: joins the caller''s, which must be READ COMMITTED; has its own under autocommit: one, or
several where the server finds it too large.
Locks: the relay''s slots, then the messages in the order in which they are given.

Example
  mysql> CALL outbox_mark_published_batch_v1(''relay-a'',
      ->   ''[{"id":1,"receipt":"2026-01-01 12:00:00.123456"}]'', @marked);
  mysql> SELECT @marked;
  +---------+
  | @marked |
  +---------+
  |       1 |
  +---------+
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  CALL outbox_internal_mark_in_parts_v1(p_relay, p_messages, 'published', p_marked);
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (522, 'V0522__mark_published_batch_v1.sql');
