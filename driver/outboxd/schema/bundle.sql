-- outboxd {version}: everything to install or upgrade it, for MySQL 8.0.45 or newer.
--   mysql DATABASE < outboxd-{version}.sql
-- It may be run again at any time. Afterwards sql/grants.sql gives the accounts their rights.

{settings}
DROP PROCEDURE IF EXISTS outboxd_bundle_begin;
DROP PROCEDURE IF EXISTS outboxd_bundle_misses;
DROP PROCEDURE IF EXISTS outboxd_bundle_step;
DROP PROCEDURE IF EXISTS outboxd_bundle_enter;

DELIMITER $$

CREATE PROCEDURE outboxd_bundle_begin (IN p_files JSON)
COMMENT 'Raises an error on a server that is too old, while another migration runs, and where files do not fit.'
BEGIN
  DECLARE v_new_enough BOOLEAN DEFAULT FALSE;
  DECLARE v_edited, v_dropped TEXT;
  DECLARE CONTINUE HANDLER FOR 1146 BEGIN END; -- there is no outbox_migrations: nothing is installed
  -- MySQL executes such a comment from that version on.
  /*!80045 SET v_new_enough = TRUE; */
  IF NOT v_new_enough THEN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'this script needs MySQL 8.0.45 or newer';
  END IF;
  IF NOT COALESCE(GET_LOCK(CONCAT('outboxd ', LEFT(DATABASE(), 56)), 30), FALSE) THEN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'another migration is at work on this database: try again later';
  END IF;
  SELECT MIN(CONCAT(f.file, ' was edited after it was applied at ', m.installed_at, ' UTC'))
    INTO v_edited
    FROM JSON_TABLE(p_files, '$[*]' COLUMNS (
           version INT UNSIGNED PATH '$[0]',
           file VARCHAR(255) PATH '$[1]',
           checksum CHAR(64) PATH '$[2]')) AS f
    JOIN outbox_migrations AS m ON m.version = f.version
   WHERE m.checksum <> f.checksum;
  IF v_edited IS NOT NULL THEN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = v_edited;
  END IF;
  SELECT MIN(CONCAT(m.file, ' is gone, dropped by ', m.dropped_by, ': use the script that holds that file'))
    INTO v_dropped
    FROM outbox_migrations AS m
   WHERE m.dropped_by IS NOT NULL
     AND JSON_SEARCH(p_files, 'one', m.dropped_by) IS NULL;
  IF v_dropped IS NOT NULL THEN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = v_dropped;
  END IF;
END $$

CREATE PROCEDURE outboxd_bundle_misses (IN p_version INT UNSIGNED, OUT p_missing BOOLEAN)
COMMENT 'Whether a migration is missing.'
BEGIN
  DECLARE CONTINUE HANDLER FOR 1146 BEGIN END; -- there is no outbox_migrations: everything is missing
  SET p_missing = TRUE;
  SELECT COUNT(*) = 0 INTO p_missing FROM outbox_migrations WHERE version = p_version;
END $$

CREATE PROCEDURE outboxd_bundle_enter (IN p_version INT UNSIGNED, IN p_file VARCHAR(255), IN p_checksum CHAR(64))
COMMENT 'Enters a migration, or the checksum of one that another tool has applied.'
BEGIN
  IF NOT EXISTS (SELECT 1 FROM outbox_migrations WHERE version = p_version) THEN
    INSERT INTO outbox_migrations (version, file, checksum) VALUES (p_version, p_file, p_checksum);
  ELSE
    UPDATE outbox_migrations SET checksum = p_checksum WHERE version = p_version AND checksum IS NULL;
  END IF;
END $$

DELIMITER ;

CALL outboxd_bundle_begin('[
{files}
]');

{migrations}DROP PROCEDURE outboxd_bundle_begin;
DROP PROCEDURE outboxd_bundle_misses;
DROP PROCEDURE outboxd_bundle_enter;
DO RELEASE_LOCK(CONCAT('outboxd ', LEFT(DATABASE(), 56)));
