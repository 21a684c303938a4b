SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_set_max_payload_bytes_v1;

DELIMITER $$

CREATE PROCEDURE outbox_set_max_payload_bytes_v1 (
  IN p_bytes BIGINT
)
COMMENT '
Sets how large a payload or body the outbox accepts: a larger one is refused when it is enqueued, where its sender can
still do something about it, instead of by Kafka, where it goes dead. Set it together with max.message.bytes of the topics,
max.request.size of the producer (kafka_options), and message.max.bytes of the brokers.

Parameters
  p_bytes BIGINT: 65536 (64 KiB) to 1073741824 (1 GiB); NULL: 1000000, the default, which fits into a record of the
    brokers'' default (message.max.bytes, 1048588) together with its key and headers

Result set: bytes, and changed, which is 0 if nothing changed.

Errors
  30005 p_bytes is out of range; 30006 called inside a transaction

Called by: operators. Owns its transaction (READ COMMITTED). Writes to outbox_audit if it changes something.

Example
  mysql> CALL outbox_set_max_payload_bytes_v1(8000000);
  +---------+---------+
  | bytes   | changed |
  +---------+---------+
  | 8000000 |       1 |
  +---------+---------+
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  CALL outbox_internal_set_limit_v1('max_payload_bytes', p_bytes, 1000000, 65536);
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (864, 'V0864__set_max_payload_bytes_v1.sql');
