-- Writes the statements that move outboxd to another database of the same server, which has to be there; it moves nothing
-- itself. Stop the daemons and whatever calls the procedures, read the statements, then run them:
--
--   (echo "SET @new_database = 'bills';"; cat sql/rename.sql) | mysql -N shop
--   (echo "SET @new_database = 'bills';"; cat sql/rename.sql) | mysql -N shop | mysql shop
--   outboxd migrate --mysql-url mysql://dba:password@host:3306/bills
--   mysql bills < sql/grants.sql
--
-- The tables move with all their rows; procedures, views and the event are dropped, and `outboxd migrate` makes them again in
-- the new database. Handlers, and tables of an application's own, have to be moved by their owner. Then:
--   - If the retention was enabled, ALTER EVENT outbox_retention ENABLE in the new database.
--   - The identity stays, and with it the consumer group. The source has the name of the database in it: set the daemons'
--     setting source to the former one (CALL outbox_identity_v1() tells it, before), so that records that are in
--     Kafka already are known.
SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION group_concat_max_len = 1000000;

SELECT statement
  FROM (
    SELECT 0 AS step, '' AS name, 'SET SESSION lock_wait_timeout = 2;' AS statement
     UNION ALL
    SELECT 1, event_name, CONCAT('DROP EVENT `', event_name, '`;')
      FROM information_schema.events
     WHERE event_schema = DATABASE()
       AND event_name = 'outbox_retention'
     UNION ALL
    -- One statement, so that all of them move or none.
    SELECT 2, '', CONCAT('RENAME TABLE ',
             GROUP_CONCAT('`', table_name, '` TO `', REPLACE(@new_database, '`', '``'), '`.`', table_name, '`' ORDER BY table_name SEPARATOR ', '), ';')
      FROM information_schema.tables
     WHERE table_schema = DATABASE()
       AND table_type = 'BASE TABLE'
       AND (table_name IN ('agent_outbox_messages', 'chat_histories') OR (table_name LIKE 'outbox\_%' AND table_comment LIKE 'outboxd: %'))
     UNION ALL
    SELECT 3, table_name, CONCAT('DROP VIEW `', table_name, '`;')
      FROM information_schema.views
     WHERE table_schema = DATABASE()
       AND EXISTS (
         SELECT 1
           FROM outbox_migrations
          WHERE file REGEXP CONCAT('^V[0-9]+__', SUBSTRING(table_name, CHAR_LENGTH('outbox_') + 1), '(_view)?[.]sql$'))
     UNION ALL
    SELECT 4, routine_name, CONCAT('DROP PROCEDURE `', routine_name, '`;')
      FROM information_schema.routines
     WHERE routine_schema = DATABASE()
       AND routine_type = 'PROCEDURE'
       AND EXISTS (
         SELECT 1
           FROM outbox_migrations
          WHERE CONCAT('outbox_', REGEXP_REPLACE(file, '^V[0-9]+__|[.]sql$', '')) = routine_name)
  ) AS statements
 ORDER BY step, name;
