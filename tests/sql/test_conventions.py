"""The files under sql/ keep to their conventions, and the check would see it if they did not."""

from pathlib import Path

import pytest

from tests.kit.server import SQL_FOLDER
from tests.sql.conventions import check, main

ROUTINE = """\
SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;
SET SESSION sql_mode = 'STRICT_TRANS_TABLES';
SET SESSION lock_wait_timeout = 2;

-- DEFINER = nobody, it's only a comment; CREATE FUNCTION too.
DROP PROCEDURE IF EXISTS outbox_greet_v1;

DELIMITER $$

CREATE PROCEDURE outbox_greet_v1 (
  IN p_id DECIMAL(20, 0),
  IN p_name VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
  OUT p_greeting TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin
)
COMMENT '
Greets the caller''s friend.

Parameters
  p_id DECIMAL: whom
  p_name VARCHAR(64): the friend
  OUT p_greeting TEXT: the greeting

Transaction: the caller''s.

Example
  mysql> CALL outbox_greet_v1(1, ''Ada'', @greeting);
'
SQL SECURITY DEFINER
READS SQL DATA
BEGIN
  DECLARE v_number, v_other INT DEFAULT 1;
  DECLARE v_text VARCHAR(64) CHARACTER SET utf8mb4 DEFAULT 'DEFINER = x';
  DECLARE v_rows CURSOR FOR SELECT 1;
  DECLARE EXIT HANDLER FOR SQLEXCEPTION SET p_greeting = NULL;
  SET p_greeting = CONCAT('Hello, ', p_name);
END $$

DELIMITER ;

INSERT INTO outbox_migrations (version, file) VALUES (190, 'V0190__greet_v1.sql');
"""
TABLE = """\
SET NAMES utf8mb4;
SET SESSION sql_mode = 'STRICT_TRANS_TABLES';
SET SESSION lock_wait_timeout = 2;

CREATE TABLE outbox_friends (
  id INT NOT NULL,
  name VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
  PRIMARY KEY (id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

CREATE OR REPLACE SQL SECURITY DEFINER VIEW outbox_names AS
SELECT name FROM outbox_friends;

INSERT INTO outbox_migrations (version, file) VALUES (191, 'V0191__friends.sql');
"""

# What is replaced in a good file, by what, and what the check must say of it.
SPOILED_ROUTINE = [
    ("SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin;\n", "", "does not begin with SET NAMES utf8mb4"),
    ("SET NAMES utf8mb4 ", "SET NAMES latin1 ", "does not begin with SET NAMES utf8mb4"),
    ("SET SESSION sql_mode = 'STRICT_TRANS_TABLES';\n", "", "does not set sql_mode in its second line"),
    ("SET SESSION lock_wait_timeout = 2;\n", "", "does not set lock_wait_timeout"),
    ("lock_wait_timeout = 2;", "lock_wait_timeout = 50;", "does not set lock_wait_timeout to 5 seconds or less"),
    ("VALUES (190,", "VALUES (191,", "does not end with INSERT INTO outbox_migrations"),
    ("'V0190__greet_v1.sql');", "'V0190__greet_v2.sql');", "does not end with INSERT INTO outbox_migrations"),
    ("INSERT INTO outbox_migrations", "-- INSERT INTO outbox_migrations", "does not end with INSERT INTO"),
    ("\nDELIMITER ;", "\nDELIMITER ;\nINSERT INTO outbox_migrations (version) VALUES (1);", "enters itself twice"),
    ("CREATE PROCEDURE", "CREATE DEFINER=root@localhost PROCEDURE", "has a DEFINER clause"),
    ("CREATE PROCEDURE", "CREATE DEFINER = `a`@`%` PROCEDURE", "has a DEFINER clause"),
    ("CREATE PROCEDURE", "CREATE FUNCTION", "outbox_greet_v1 is a FUNCTION, not a procedure"),
    ("END $$\n", "END $$\nCREATE PROCEDURE outbox_other_v1 () BEGIN END $$\n", "creates 2 routines"),
    ("PROCEDURE outbox_greet_v1 (", "PROCEDURE outbox_meet_v1 (", "the file's name says outbox_greet_v1"),
    ("PROCEDURE outbox_greet_v1 (", "PROCEDURE outbox_greet (", "outbox_greet does not end in _v<n>"),
    ("SQL SECURITY DEFINER", "SQL SECURITY INVOKER", "is not SQL SECURITY DEFINER"),
    ("SQL SECURITY DEFINER\n", "", "is not SQL SECURITY DEFINER"),
    (
        "p_name VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin",
        "p_name VARCHAR(64)",
        "parameter p_name does not name its character set",
    ),
    (
        "p_greeting TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin",
        "p_greeting TEXT",
        "parameter p_greeting does not name its character set",
    ),
    ("VARCHAR(64) CHARACTER SET utf8mb4 DEFAULT", "LONGTEXT DEFAULT", "DECLARE v_text does not name its character set"),
    ("v_other INT DEFAULT 1", "v_other CHAR(3)", "DECLARE v_number, v_other does not name its character set"),
    ("COMMENT '\n", "-- '\n", "has no COMMENT"),
    ("\nGreets the caller''s friend.\n\n", "\n", "COMMENT does not begin with a description"),
    ("\nParameters\n", "\nArguments\n", "COMMENT has no Parameters"),
    ("  p_name VARCHAR(64): the friend\n", "", "COMMENT does not explain p_name"),
    ("  OUT p_greeting TEXT: the greeting\n", "", "COMMENT does not explain p_greeting"),
    ("\nExample\n", "\nFor instance\n", "COMMENT has no Example that calls it"),
    ("CALL outbox_greet_v1(1", "CALL outbox_meet_v1(1", "COMMENT has no Example that calls it"),
    ("Transaction: the caller''s.", "Locks: none.", "COMMENT does not say whose transaction it is"),
]
SPOILED_TABLE = [
    (
        "name VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin",
        "name VARCHAR(64)",
        "column name does not name its character set",
    ),
    (" ROW_FORMAT = DYNAMIC", "", "creates a table without ENGINE = InnoDB ROW_FORMAT = DYNAMIC"),
    ("SQL SECURITY DEFINER VIEW", "SQL SECURITY INVOKER VIEW", "its view is not SQL SECURITY DEFINER"),
    ("REPLACE SQL SECURITY DEFINER VIEW", "REPLACE VIEW", "its view is not SQL SECURITY DEFINER"),
    ("REPLACE SQL", "REPLACE DEFINER = CURRENT_USER SQL", "has a DEFINER clause"),
    ("CREATE OR", "CREATE TRIGGER t BEFORE INSERT ON x FOR EACH ROW SET @a = 1;\nCREATE OR", "t is a TRIGGER"),
]


def plant(folder: Path, name: str, text: str) -> None:
    place = folder / "1_schema" / name
    place.parent.mkdir(exist_ok=True)
    place.write_text(text, encoding="utf-8")


def test_every_file_keeps_to_the_conventions() -> None:
    assert check(SQL_FOLDER) == []


def test_good_files_have_no_offence(tmp_path: Path) -> None:
    plant(tmp_path, "V0190__greet_v1.sql", ROUTINE)
    plant(tmp_path, "V0191__friends.sql", TABLE)
    assert check(tmp_path) == []


@pytest.mark.parametrize(("old", "new", "said"), SPOILED_ROUTINE, ids=[case[2] for case in SPOILED_ROUTINE])
def test_check_sees_what_is_wrong_with_a_routine(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in ROUTINE
    plant(tmp_path, "V0190__greet_v1.sql", ROUTINE.replace(old, new, 1))
    offences = check(tmp_path)
    assert any(said in offence for offence in offences), offences
    assert all(offence.startswith("1_schema/V0190__greet_v1.sql: ") for offence in offences)


@pytest.mark.parametrize(("old", "new", "said"), SPOILED_TABLE, ids=[case[2] for case in SPOILED_TABLE])
def test_check_sees_what_is_wrong_with_a_table_or_a_view(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in TABLE
    plant(tmp_path, "V0191__friends.sql", TABLE.replace(old, new, 1))
    offences = check(tmp_path)
    assert [said in offence for offence in offences] == [True]


@pytest.mark.parametrize("name", ["V90__greet_v1.sql", "090__greet_v1.sql", "V090_greet_v1.sql", "V0190__Greet_v1.sql"])
def test_check_sees_a_file_that_is_named_otherwise(tmp_path: Path, name: str) -> None:
    plant(tmp_path, name, ROUTINE)
    assert check(tmp_path) == [f"1_schema/{name}: its name is not V<nnnn>__<name>.sql"]


def test_check_sees_a_version_that_is_not_of_its_folder(tmp_path: Path) -> None:
    plant(tmp_path, "V0290__greet_v1.sql", ROUTINE.replace("190, 'V0190", "290, 'V0290"))
    assert check(tmp_path) == ["1_schema/V0290__greet_v1.sql: its version is not in the hundred of its folder: V.1.."]


def test_check_sees_a_version_that_is_used_twice(tmp_path: Path) -> None:
    plant(tmp_path, "V0190__greet_v1.sql", ROUTINE)
    plant(tmp_path, "V0190__friends.sql", TABLE.replace("191, 'V0191", "190, 'V0190"))
    assert check(tmp_path) == ["version 0190 is used 2 times"]


def test_routine_that_touches_no_data_need_not_speak_of_transactions(tmp_path: Path) -> None:
    text = ROUTINE.replace("Transaction: the caller''s.", "Pure.").replace("READS SQL DATA", "NO SQL")
    plant(tmp_path, "V0190__greet_v1.sql", text)
    assert check(tmp_path) == []


def test_command_prints_each_offence_and_exits_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plant(tmp_path, "V0190__greet_v1.sql", ROUTINE)
    assert main([str(tmp_path)]) == 0
    assert capsys.readouterr().out == ""
    plant(tmp_path, "V0190__greet_v1.sql", ROUTINE.replace("SQL SECURITY DEFINER\n", "").replace("_v1 (", " (", 1))
    assert main([str(tmp_path)]) == 1
    assert len(capsys.readouterr().out.splitlines()) == 4
