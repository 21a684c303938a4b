"""The checker sees what it is there for, on tables that were filled through the procedures."""

import pytest

from tests.faults import checker
from tests.faults.ledger import Entry, Ledger
from tests.faults.topic import Record
from tests.sql.support import Database

_FOUND = {
    "messages": 6,
    "lost": 0,
    "duplicated": 0,
    "out_of_order": 0,
    "strangers": 0,
    "dead": 0,
    "unfinished": 0,
    "unrecorded": 0,
}


@pytest.fixture
def ledger(db: Database) -> Ledger:
    """Six messages of two conversations that all have taken effect."""
    entries = []
    for number, key in enumerate(["a", "b"] * 3):
        message = db.out("outbox_enqueue_chat_history_v1", "chat", key, 7, key, "user", f"text {number}", None)
        entries.append(Entry(message, "chat", key, 7, "user", f"text {number}"))
    db.consume(*[entry.id for entry in entries])
    return Ledger(entries)


def _found(ledger: Ledger, db: Database, records: list[Record] | None = None) -> dict[str, int]:
    verdict = checker.check(ledger, db, records)
    found = {name: getattr(verdict, name) for name in _FOUND}
    assert verdict.is_well == (found == _FOUND | {"messages": found["messages"]})
    assert bool(verdict.evidence) != verdict.is_well
    return found


def test_checker_finds_nothing_where_nothing_is_wrong(db: Database, ledger: Ledger) -> None:
    assert _found(ledger, db) == _FOUND


def test_checker_sees_a_loss(db: Database, ledger: Ledger) -> None:
    db.execute("DELETE FROM chat_histories WHERE message_content = 'text 2'")
    assert _found(ledger, db) == _FOUND | {"lost": 1}


def test_checker_sees_a_message_that_was_lost_before_the_outbox_had_it(db: Database, ledger: Ledger) -> None:
    told = Entry(10**9, "chat", "a", 7, "user", "told to be committed")
    assert _found(Ledger([*ledger.committed, told]), db) == _FOUND | {"messages": 7, "lost": 1}


def test_checker_sees_a_text_that_was_changed_as_lost(db: Database, ledger: Ledger) -> None:
    db.execute("UPDATE chat_histories SET message_content = 'Text 2' WHERE message_content = 'text 2'")
    assert _found(ledger, db) == _FOUND | {"lost": 1, "strangers": 1}


def test_checker_sees_a_duplicate(db: Database, ledger: Ledger) -> None:
    db.execute(
        "INSERT INTO chat_histories (user_id, chat_id, role, message_content)"
        " SELECT user_id, chat_id, role, message_content FROM chat_histories WHERE message_content = 'text 2'"
    )
    assert _found(ledger, db) == _FOUND | {"duplicated": 1}


def test_checker_sees_a_swap(db: Database, ledger: Ledger) -> None:
    db.execute(
        "UPDATE chat_histories SET message_content = IF(message_content = 'text 2', 'text 4', 'text 2')"
        " WHERE message_content IN ('text 2', 'text 4')"
    )
    assert _found(ledger, db) == _FOUND | {"out_of_order": 1}


def test_checker_allows_other_keys_and_topics_to_overtake(db: Database, ledger: Ledger) -> None:
    elsewhere = [
        Entry(entry.id, "other" if number == 2 else entry.topic, entry.key, entry.user_id, entry.role, entry.text)
        for number, entry in enumerate(ledger.committed)
    ]
    db.execute(
        "UPDATE chat_histories SET message_content = IF(message_content = 'text 2', 'text 4', 'text 2')"
        " WHERE message_content IN ('text 2', 'text 4')"
    )
    assert _found(Ledger(elsewhere), db) == _FOUND


def test_checker_sees_a_message_that_was_rolled_back_and_yet_took_effect(db: Database, ledger: Ledger) -> None:
    assert _found(Ledger(ledger.committed[:-1]), db) == _FOUND | {"messages": 5, "strangers": 1}


def test_checker_lets_a_message_in_doubt_have_taken_effect_or_not(db: Database, ledger: Ledger) -> None:
    never = Entry(10**9, "chat", "a", 7, "user", "its COMMIT never came")
    in_doubt = Ledger(ledger.committed[:-1], [ledger.committed[-1], never])
    assert _found(in_doubt, db) == _FOUND | {"messages": 5}


def test_checker_sees_a_message_in_doubt_twice(db: Database, ledger: Ledger) -> None:
    db.execute(
        "INSERT INTO chat_histories (user_id, chat_id, role, message_content)"
        " SELECT user_id, chat_id, role, message_content FROM chat_histories WHERE message_content = 'text 5'"
    )
    in_doubt = Ledger(ledger.committed[:-1], [ledger.committed[-1]])
    assert _found(in_doubt, db) == _FOUND | {"messages": 5, "duplicated": 1}


@pytest.mark.parametrize(("status", "name"), [("dead", "dead"), ("pending", "unfinished"), ("published", "unfinished")])
def test_checker_sees_a_message_that_stayed_behind(db: Database, ledger: Ledger, status: str, name: str) -> None:
    message = db.enqueue_in(status, "c")
    told = Entry(message, "chat", "c", 7, "user", "told to be committed")
    lost = 0 if status == "dead" else 1
    assert _found(Ledger([*ledger.committed, told]), db) == _FOUND | {"messages": 7, "lost": lost, name: 1}


def _records(ledger: Ledger, db: Database) -> list[Record]:
    """The topic as a relay leaves it."""
    payloads = {row["id"]: row["payload"] for row in db.messages()}
    return [Record(entry.id, entry.topic, entry.key, payloads[entry.id].encode()) for entry in ledger.committed]


def test_checker_finds_nothing_wrong_with_a_topic_of_all_messages_and_lets_them_be_there_twice(
    db: Database, ledger: Ledger
) -> None:
    assert _found(ledger, db, _records(ledger, db) * 2) == _FOUND


def test_checker_sees_a_message_that_took_effect_and_is_not_in_the_topic(db: Database, ledger: Ledger) -> None:
    assert _found(ledger, db, _records(ledger, db)[1:]) == _FOUND | {"unrecorded": 1}


def test_checker_sees_a_record_that_says_something_else(db: Database, ledger: Ledger) -> None:
    records = _records(ledger, db)
    records[2] = Record(records[2].id, "chat", "a", records[2].value.replace(b"text 2", b"text 3"))
    assert _found(ledger, db, records) == _FOUND | {"unrecorded": 1}


def test_checker_sees_a_record_of_a_message_that_never_committed(db: Database, ledger: Ledger) -> None:
    records = _records(ledger, db)
    assert _found(ledger, db, [*records, Record(10**9, "chat", "a", records[0].value)]) == _FOUND | {"strangers": 1}


def test_checker_lets_an_id_of_a_message_in_doubt_be_given_out_again(db: Database, ledger: Ledger) -> None:
    first = ledger.committed[0]
    never = Entry(first.id, "chat", "b", 7, "user", "its COMMIT never came, and another server took over")
    assert _found(Ledger(ledger.committed, [never]), db, _records(ledger, db)) == _FOUND
