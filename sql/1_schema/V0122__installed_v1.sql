SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';
SET SESSION lock_wait_timeout = 2;

DROP PROCEDURE IF EXISTS outbox_installed_v1;

DELIMITER $$

CREATE PROCEDURE outbox_installed_v1 ()
COMMENT '
Lists the migrations that are installed. outbox_version_v1 returns the newest only, which does not say
whether one before it is missing. This procedure is never dropped, so that an outboxd of any release can ask.

Result set, by version: version; file; dropped_by, the file that has dropped what this one made, or NULL; gone, the
procedure, view or event that the file has made and this server does not have, as after a dump without routines, or NULL.

Called by: anybody; the daemon asks before it starts. Reads only; transaction: the caller''s.

Example
  mysql> CALL outbox_installed_v1();
  +---------+--------------------------+------------+------+
  | version | file                     | dropped_by | gone |
  +---------+--------------------------+------------+------+
  |     101 | V0101__migrations.sql    | NULL       | NULL |
  |     102 | V0102__legacy_tables.sql | NULL       | NULL |
  |     ... | ...                      | ...        | ...  |
  +---------+--------------------------+------------+------+
'
SQL SECURITY DEFINER
READS SQL DATA
BEGIN
  -- A file says by its name what it makes: V<nnnn>__<name>_v<n>.sql the procedure outbox_<name>_v<n>, ..._view.sql the
  -- view outbox_..., and retention.sql the event. A search of the optimizer that stops early would read all routines of the
  -- server for each file, which takes hours beside a dozen outboxes.
  SELECT /*+ SET_VAR(optimizer_search_depth = 62) */ made.version, made.file, made.dropped_by,
         IF(made.dropped_by IS NOT NULL, NULL,
           CASE made.kind
             WHEN 'procedure' THEN IF(EXISTS (
               SELECT 1 FROM information_schema.routines WHERE routine_schema = DATABASE() AND routine_name = made.name), NULL, made.name)
             WHEN 'view' THEN IF(EXISTS (
               SELECT 1 FROM information_schema.views WHERE table_schema = DATABASE() AND table_name = made.name), NULL, made.name)
             WHEN 'event' THEN IF(EXISTS (
               SELECT 1 FROM information_schema.events WHERE event_schema = DATABASE() AND event_name = made.name), NULL, made.name)
           END) AS gone
    FROM (
      SELECT version, file, dropped_by,
             CONCAT('outbox_', REGEXP_REPLACE(file, '^V[0-9]+__|_view[.]sql$|[.]sql$', '')) AS name,
             CASE
               WHEN file REGEXP '__post_' THEN 'post'
               WHEN file REGEXP '_v[0-9]+[.]sql$' THEN 'procedure'
               WHEN file REGEXP '_view[.]sql$' THEN 'view'
               WHEN file REGEXP '__retention[.]sql$' THEN 'event'
             END AS kind
        FROM outbox_migrations
    ) AS made
   ORDER BY made.version;
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (122, 'V0122__installed_v1.sql');
