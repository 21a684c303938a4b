-- Writes the statements that remove outboxd from a database; it drops nothing itself. Read them, then run them:
--
--   mysql -N DATABASE < sql/uninstall.sql
--   mysql -N DATABASE < sql/uninstall.sql | mysql DATABASE
--
-- They drop the event, and of the views, procedures and tables those that the migrations have made: an application's own
-- stay, whatever their names. agent_outbox_messages and chat_histories stay, too, with all their rows; sql/README.md says
-- how to drop them, and the roles. Where it was cut off it may be run again: outbox_migrations goes last.
SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;

SELECT statement
  FROM (
    SELECT 0 AS step, '' AS name, 'SET SESSION lock_wait_timeout = 2;' AS statement
     UNION ALL
    SELECT 1, event_name, CONCAT('DROP EVENT `', event_name, '`;')
      FROM information_schema.events
     WHERE event_schema = DATABASE()
       AND event_name = 'outbox_retention'
     UNION ALL
    SELECT 2, table_name, CONCAT('DROP VIEW `', table_name, '`;')
      FROM information_schema.views
     WHERE table_schema = DATABASE()
       AND EXISTS (
         SELECT 1
           FROM outbox_migrations
          WHERE file REGEXP CONCAT('^V[0-9]+__', SUBSTRING(table_name, CHAR_LENGTH('outbox_') + 1), '(_view)?[.]sql$'))
     UNION ALL
    SELECT 3, routine_name, CONCAT('DROP PROCEDURE `', routine_name, '`;')
      FROM information_schema.routines
     WHERE routine_schema = DATABASE()
       AND routine_type = 'PROCEDURE'
       AND EXISTS (
         SELECT 1
           FROM outbox_migrations
          WHERE CONCAT('outbox_', REGEXP_REPLACE(file, '^V[0-9]+__|[.]sql$', '')) = routine_name)
     UNION ALL
    SELECT IF(table_name = 'outbox_migrations', 5, 4), table_name, CONCAT('DROP TABLE `', table_name, '`;')
      FROM information_schema.tables
     WHERE table_schema = DATABASE()
       AND table_type = 'BASE TABLE'
       AND table_name LIKE 'outbox\_%'
       AND table_comment LIKE 'outboxd: %'
  ) AS statements
 ORDER BY step, name;
