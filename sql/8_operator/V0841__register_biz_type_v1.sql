SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_register_biz_type_v1;

DELIMITER $$

CREATE PROCEDURE outbox_register_biz_type_v1 (
  IN p_biz_type TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_handler TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_ordering TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  IN p_max_retry INT,
  IN p_backoff_base_seconds INT,
  IN p_backoff_cap_seconds INT
)
COMMENT '
Registers a business type, or changes one: which procedure handles its messages, their order, and their retries. It
also holds for messages that are waiting already, from their next claim, mark, failure or consumption on.

A type without a handler is publish-only, as one that is not registered is: Kafka''s acknowledgement consumes its
messages. What was relayed before the type got its handler has no effect here; outbox_replay_v1 finds it.

Parameters
  p_biz_type TEXT, 1 to 64 characters: the business type
  p_handler TEXT, up to 64 characters: a procedure of this database, in the case in which it was created, that takes
    (p_id BIGINT UNSIGNED, p_payload LONGTEXT) and does not commit; empty: none, the type is publish-only; NULL: stays,
    and a new type has none. With another handler or none the type loses its batch handler
    (outbox_register_batch_handler_v1)
  p_ordering TEXT: key, messages of one topic and key take effect in their order, or none; NULL: stays, or key
  p_max_retry INT: failures after which a message is dead, up to 1000000, whatever its enqueue said; 0: what its
    enqueue said; NULL: stays, or what its enqueue said
  p_backoff_base_seconds INT: the wait after the first failure, 1 to 604800, doubled after each further one; NULL:
    stays, or 1
  p_backoff_cap_seconds INT: the longest wait, from the base to 604800; NULL: stays, or 32

Result set: the row of outbox_biz_types, and changed, which is 0 if nothing changed.

Errors
  30001 p_biz_type is NULL or empty; 30002 a name is too long
  30005 p_ordering is neither key nor none, or a number is out of range
  30008 p_handler is no procedure of this database, or does not take two parameters

Called by: operators, an application''s own migrations. Transaction: joins the caller''s, so that a migration that is
rolled back leaves nothing; under autocommit it has one of its own. Until it is committed the type keeps its former
policy for all others, and another registration of it waits. Writes to outbox_audit if it changes something.

Example
  mysql> CALL outbox_register_biz_type_v1(''order_paid'', ''on_order_paid'', NULL, 50, 2, 600);
  +------------+---------------+----------+-----------+----------------------+---------------------+---------+
  | biz_type   | handler       | ordering | max_retry | backoff_base_seconds | backoff_cap_seconds | changed |
  +------------+---------------+----------+-----------+----------------------+---------------------+---------+
  | order_paid | on_order_paid | key      |        50 |                    2 |                 600 |       1 |
  +------------+---------------+----------+-----------+----------------------+---------------------+---------+
'
SQL SECURITY DEFINER
MODIFIES SQL DATA
BEGIN
  DECLARE v_audit_id BIGINT UNSIGNED;
  DECLARE v_is_own_transaction BOOLEAN DEFAULT FALSE;
  DECLARE v_base_seconds, v_cap_seconds INT;
  DECLARE v_before, v_after JSON;

  IF COALESCE(CHAR_LENGTH(p_biz_type), 0) NOT BETWEEN 1 AND 64 THEN
    CALL outbox_internal_reject_text_v1('p_biz_type', p_biz_type, 64);
  END IF;
  IF CHAR_LENGTH(p_handler) > 64 THEN
    CALL outbox_internal_reject_text_v1('p_handler', p_handler, 64);
  END IF;
  IF p_ordering NOT IN ('key', 'none') THEN
    CALL outbox_internal_raise_v1(30005, CONCAT('p_ordering must be key or none: ', LEFT(p_ordering, 60)));
  END IF;
  IF p_max_retry NOT BETWEEN 0 AND 1000000 THEN
    CALL outbox_internal_raise_v1(30005, CONCAT('p_max_retry must be from 0 to 1000000: ', p_max_retry));
  END IF;
  IF p_backoff_base_seconds NOT BETWEEN 1 AND 604800 THEN
    CALL outbox_internal_raise_v1(30005, CONCAT('p_backoff_base_seconds must be from 1 to 604800: ', p_backoff_base_seconds));
  END IF;
  IF p_backoff_cap_seconds NOT BETWEEN 1 AND 604800 THEN
    CALL outbox_internal_raise_v1(30005, CONCAT('p_backoff_cap_seconds must be from 1 to 604800: ', p_backoff_cap_seconds));
  END IF;

  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION
    BEGIN
      IF v_is_own_transaction THEN
        ROLLBACK AND NO CHAIN NO RELEASE;
      END IF;
      RESIGNAL;
    END;
    CALL outbox_internal_begin_v1(v_is_own_transaction);
    SELECT JSON_ARRAYAGG(JSON_OBJECT(
             'handler', handler, 'ordering', ordering, 'max_retry', max_retry,
             'backoff_base_seconds', backoff_base_seconds, 'backoff_cap_seconds', backoff_cap_seconds)),
           COALESCE(p_backoff_base_seconds, MAX(backoff_base_seconds), 1),
           COALESCE(p_backoff_cap_seconds, MAX(backoff_cap_seconds), 32)
      INTO v_before, v_base_seconds, v_cap_seconds
      FROM outbox_biz_types
     WHERE biz_type = p_biz_type
       FOR UPDATE;
    -- All is checked before anything is written: an error leaves the caller's transaction as it was.
    IF v_base_seconds > v_cap_seconds THEN
      CALL outbox_internal_raise_v1(30005, 'p_backoff_cap_seconds must not be less than the base: give both');
    END IF;
    IF p_handler <> '' AND (
        SELECT COUNT(*) <> 2 OR SUM(parameter_mode = 'IN') <> 2
          FROM information_schema.parameters
         WHERE specific_schema = DATABASE()
           AND specific_name = p_handler
           AND routine_type = 'PROCEDURE') THEN
      CALL outbox_internal_raise_v1(30008, CONCAT('p_handler is no procedure (p_id, p_payload) of this database: ', p_handler));
    END IF;
    IF v_before IS NULL THEN
      INSERT INTO outbox_biz_types (biz_type) VALUES (p_biz_type);
    END IF;
    UPDATE outbox_biz_types
       SET batch_handler = IF(p_handler <> handler, NULL, batch_handler),
           handler = IF(p_handler IS NULL, handler, NULLIF(p_handler, '')),
           ordering = COALESCE(p_ordering, ordering),
           max_retry = IF(p_max_retry IS NULL, max_retry, NULLIF(p_max_retry, 0)),
           backoff_base_seconds = v_base_seconds,
           backoff_cap_seconds = v_cap_seconds
     WHERE biz_type = p_biz_type;
    SELECT JSON_ARRAYAGG(JSON_OBJECT(
             'handler', handler, 'ordering', ordering, 'max_retry', max_retry,
             'backoff_base_seconds', backoff_base_seconds, 'backoff_cap_seconds', backoff_cap_seconds))
      INTO v_after
      FROM outbox_biz_types
     WHERE biz_type = p_biz_type;
    IF v_before IS NULL OR v_before <> v_after THEN
      CALL outbox_internal_audit_v1('register_biz_type', JSON_OBJECT(
        'biz_type', p_biz_type, 'before', JSON_EXTRACT(v_before, '$[0]'), 'after', JSON_EXTRACT(v_after, '$[0]')), v_audit_id);
    END IF;
    IF v_is_own_transaction THEN
      COMMIT AND NO CHAIN NO RELEASE;
    END IF;
  END;
  SELECT p_biz_type AS biz_type, handler, ordering, max_retry, backoff_base_seconds, backoff_cap_seconds, v_audit_id IS NOT NULL AS changed
    FROM JSON_TABLE(v_after, '$[0]' COLUMNS (
           handler VARCHAR(64) PATH '$.handler',
           ordering VARCHAR(8) PATH '$.ordering',
           max_retry INT PATH '$.max_retry',
           backoff_base_seconds INT PATH '$.backoff_base_seconds',
           backoff_cap_seconds INT PATH '$.backoff_cap_seconds')) AS policy;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (841, 'V0841__register_biz_type_v1.sql');
