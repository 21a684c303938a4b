"""Releases keep to the rule of an upgrade: their pre files only add, and their post files leave a trace."""

from pathlib import Path

import pytest

from outboxd.schema.files import Migration
from tests.deploy.next_outboxd import FOLDER, own_migrations
from tests.deploy.release import POST, PRE, PRESENT
from tests.deploy.upgrade_rule import offences
from tests.sql.conventions import check


def test_made_up_release_has_the_form_of_every_other() -> None:
    assert check(FOLDER) == []


def test_releases_keep_to_the_rule() -> None:
    first = [migration for migration in PRESENT if migration.version < 1000]
    later = [migration for migration in PRESENT if migration.version >= 1000]
    assert offences(first, later) == []
    assert offences(PRESENT, own_migrations()) == []


COLUMN, ENQUEUE, CLAIM = PRE
POST_ENQUEUE, POST_CLAIM = POST
SPOILED = [
    (ENQUEUE, "outbox_enqueue_v2", "outbox_enqueue_v1", "replaces outbox_enqueue_v1 of V0303__enqueue_v1.sql"),
    (CLAIM, "EXISTS outbox_claim_v2", "EXISTS outbox_claim_v1", "drops outbox_claim_v1"),
    (COLUMN, "ALTER TABLE", "DROP VIEW IF EXISTS outbox_status;\nALTER TABLE", "drops outbox_status"),
    (COLUMN, "ADD COLUMN source", "DROP COLUMN headers, ADD COLUMN source", "changes a table by DROP"),
    (COLUMN, "ADD COLUMN source", "MODIFY topic", "changes a table by MODIFY"),
    (COLUMN, "NOT NULL DEFAULT ''", "NOT NULL", "adds a column that has to be given a value"),
    (COLUMN, "ALGORITHM = INSTANT", "ALGORITHM = COPY", "does not name an online algorithm"),
    (COLUMN, "SET SESSION lock_wait_timeout = 2;", "", "does not set lock_wait_timeout"),
    (POST_CLAIM, "SET SESSION lock_wait_timeout = 2;", "", "does not set lock_wait_timeout"),
    (POST_CLAIM, "WHERE version = 517", "WHERE version = 514", "dropped_by of version 517"),
    (POST_CLAIM, "dropped_by = 'V1502__post", "dropped_by = 'V1503__post", "dropped_by of version 517"),
    (POST_ENQUEUE, "outbox_enqueue_v1;", "outbox_enqueue_v0;", "drops outbox_enqueue_v0, which no file has made"),
    (
        POST_ENQUEUE,
        "outbox_enqueue_v1;",
        "outbox_internal_reject_text_v1;",
        "outbox_enqueue_v2 calls outbox_internal_reject_text_v1, which is dropped",
    ),
]


@pytest.mark.parametrize(("file", "old", "new", "said"), SPOILED, ids=[case[3] for case in SPOILED])
def test_check_of_the_rule_sees_what_breaks_it(tmp_path: Path, file: str, old: str, new: str, said: str) -> None:
    spoiled = []
    for migration in own_migrations():
        copy = tmp_path / migration.file
        is_it = migration.file == file
        assert old in migration.text or not is_it
        copy.write_text(migration.text.replace(old, new) if is_it else migration.text, encoding="utf-8")
        spoiled.append(Migration(migration.version, copy))
    found = offences(PRESENT, spoiled)
    assert any(said in offence for offence in found), found
