SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_claim_v2;

DELIMITER $$

CREATE PROCEDURE outbox_claim_v2 (
  IN p_relay TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_limit INT,
  IN p_lease_seconds INT,
  IN p_wait_ms INT
)
COMMENT '
One round of a relay begins: as outbox_claim_v1, and tells each message''s source.

Parameters
  p_relay TEXT, 1 to 128 characters: the relay
  p_limit INT: messages at most
  p_lease_seconds INT: how long the slots stay with a relay that does not call
  p_wait_ms INT: how long to wait here for work, in milliseconds

Result set, by ascending id: that of outbox_claim_v1, and source.

Called by: relays. Owns its transactions: call it outside of one.

Example
  mysql> CALL outbox_claim_v2(''relay-a'', 1000, 30, 500);
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_deadline DATETIME(6) DEFAULT UTC_TIMESTAMP(6) + INTERVAL p_wait_ms * 1000 MICROSECOND;
  DECLARE v_owned INT;
  DECLARE v_top, v_woken BIGINT UNSIGNED;
  DECLARE v_ids JSON;
  DECLARE v_is_held, v_is_all, v_has_changed BOOLEAN;

  CALL outbox_internal_require_no_transaction_v1('outbox_claim_v2');
  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION
    BEGIN
      ROLLBACK AND NO CHAIN NO RELEASE;
      RESIGNAL;
    END;
    CALL outbox_internal_share_slots_v1(p_relay, p_lease_seconds, v_owned, v_has_changed);
    IF v_has_changed THEN
      SET @outbox_claimer = NULL, @outbox_settled = NULL, @outbox_left = 0;
    END IF;

    work: LOOP
      CALL outbox_internal_wake_v1(p_relay, FALSE, v_woken);
      CALL outbox_internal_next_batch_v1(p_relay, p_limit, v_owned, v_woken, v_top, v_ids, v_is_held, v_is_all);
      IF v_ids IS NOT NULL OR UTC_TIMESTAMP(6) >= v_deadline THEN
        LEAVE work;
      END IF;
      DO SLEEP(0.005);
    END LOOP;

    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    START TRANSACTION;
    SELECT m.id, m.biz_type, m.topic, m.message_key, CAST(m.payload AS BINARY) AS value,
           COALESCE(m.content_type, 'application/json') AS content_type, m.headers, m.created_at, m.next_retry_at AS receipt, m.source
      FROM (
        SELECT DISTINCT id
          FROM JSON_TABLE(COALESCE(v_ids, '[]'), '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$')) AS found
         ORDER BY id
         LIMIT p_limit
      ) AS head
      STRAIGHT_JOIN agent_outbox_messages AS m FORCE INDEX (PRIMARY) ON m.id = head.id
     WHERE m.status = 'pending'
     ORDER BY head.id;
    COMMIT AND NO CHAIN NO RELEASE;
  END;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (1501, 'V1501__claim_v2.sql');
