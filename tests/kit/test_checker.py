"""The checker sees what it is there for, on tables that were filled through the procedures."""

from dataclasses import replace

import pytest

from tests.kit import chat, checker
from tests.kit.chat import Chat
from tests.kit.kafka import Record
from tests.kit.ledger import Entry, Ledger
from tests.kit.session import Session, chat_payload

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
def ledger(db: Session) -> Ledger:
    """Six messages of two conversations that all have taken effect."""
    lines = [Chat(7, key, "user", f"text {number}") for number, key in enumerate(["a", "b"] * 3)]
    entries = [chat.enqueue(db, "chat", line) for line in lines]
    db.consume(*[entry.id for entry in entries])
    return Ledger(entries)


def _found(ledger: Ledger, db: Session, records: list[Record] | None = None) -> dict[str, int]:
    verdict = checker.check(ledger, db, records)
    found = {name: getattr(verdict, name) for name in _FOUND}
    assert verdict.is_well == (found == _FOUND | {"messages": found["messages"]})
    assert bool(verdict.evidence) != verdict.is_well
    return found


_DUPLICATE = (
    "INSERT INTO chat_histories (user_id, chat_id, role, message_content)"
    " SELECT user_id, chat_id, role, message_content FROM chat_histories WHERE message_content = '{}'"
)
_SWAP = (
    "UPDATE chat_histories SET message_content = IF(message_content = 'text 2', 'text 4', 'text 2')"
    " WHERE message_content IN ('text 2', 'text 4')"
)
_PLANTED: dict[str, tuple[str, dict[str, int]]] = {
    "nothing": ("DO 0", {}),
    "a loss": ("DELETE FROM chat_histories WHERE message_content = 'text 2'", {"lost": 1}),
    "a duplicate": (_DUPLICATE.format("text 2"), {"duplicated": 1}),
    "a swap": (_SWAP, {"out_of_order": 1}),
    "a text of other letters": (
        "UPDATE chat_histories SET message_content = 'Text 2' WHERE message_content = 'text 2'",
        {"lost": 1, "strangers": 1},
    ),
    "a text with a space more": (
        "UPDATE chat_histories SET message_content = 'text 2 ' WHERE message_content = 'text 2'",
        {"lost": 1, "strangers": 1},
    ),
    "another user": (
        "UPDATE chat_histories SET user_id = 8 WHERE message_content = 'text 2'",
        {"lost": 1, "strangers": 1},
    ),
}


@pytest.mark.parametrize(("planted", "found"), _PLANTED.values(), ids=_PLANTED)
def test_checker_sees_what_was_planted(db: Session, ledger: Ledger, planted: str, found: dict[str, int]) -> None:
    db.execute(planted)
    assert _found(ledger, db) == _FOUND | found


def test_checker_sees_a_message_that_was_lost_before_the_outbox_had_it(db: Session, ledger: Ledger) -> None:
    told = Entry(10**9, "chat", "a", 7, "user", "told to be committed")
    assert _found(Ledger([*ledger.committed, told]), db) == _FOUND | {"messages": 7, "lost": 1}


@pytest.mark.parametrize(("rows", "found"), [(1, {"lost": 1}), (2, {}), (3, {"duplicated": 1})])
def test_checker_counts_messages_of_the_same_text(
    db: Session, ledger: Ledger, rows: int, found: dict[str, int]
) -> None:
    again = chat.enqueue(db, "chat", Chat(7, "a", "user", "text 2"))
    if rows > 1:
        db.consume(again.id)
    else:
        db.execute("UPDATE agent_outbox_messages SET status = 'consumed', next_retry_at = NULL WHERE id = %s", again.id)
    for _ in range(rows - 2):
        db.execute(_DUPLICATE.format("text 2") + " LIMIT 1")
    assert _found(Ledger([*ledger.committed, again]), db) == _FOUND | {"messages": 7} | found


def test_checker_allows_other_keys_and_topics_to_overtake(db: Session, ledger: Ledger) -> None:
    elsewhere = [
        replace(entry, topic="other" if number == 2 else entry.topic) for number, entry in enumerate(ledger.committed)
    ]
    db.execute(_SWAP)
    assert _found(Ledger(elsewhere), db) == _FOUND


def test_checker_sees_a_message_that_was_rolled_back_and_yet_took_effect(db: Session, ledger: Ledger) -> None:
    assert _found(Ledger(ledger.committed[:-1]), db) == _FOUND | {"messages": 5, "strangers": 1}


def test_checker_lets_a_message_in_doubt_have_taken_effect_or_not(db: Session, ledger: Ledger) -> None:
    never = Entry(10**9, "chat", "a", 7, "user", "its COMMIT never came")
    in_doubt = Ledger(ledger.committed[:-1], [ledger.committed[-1], never])
    assert _found(in_doubt, db) == _FOUND | {"messages": 5}


def test_checker_sees_a_message_in_doubt_twice(db: Session, ledger: Ledger) -> None:
    db.execute(_DUPLICATE.format("text 5"))
    in_doubt = Ledger(ledger.committed[:-1], [ledger.committed[-1]])
    assert _found(in_doubt, db) == _FOUND | {"messages": 5, "duplicated": 1}


@pytest.mark.parametrize(("status", "name"), [("dead", "dead"), ("pending", "unfinished"), ("published", "unfinished")])
def test_checker_sees_a_message_that_stayed_behind(db: Session, ledger: Ledger, status: str, name: str) -> None:
    message = db.enqueue_in(status, "c")
    told = Entry(message, "chat", "c", 7, "user", "told to be committed")
    lost = 0 if status == "dead" else 1
    assert _found(Ledger([*ledger.committed, told]), db) == _FOUND | {"messages": 7, "lost": lost, name: 1}


def _record(entry: Entry, payload: str) -> Record:
    headers = [("ce_id", str(entry.id).encode())]
    return Record(entry.topic, entry.key.encode(), payload.encode(), headers)


def _records(ledger: Ledger, db: Session) -> list[Record]:
    """The topic as a relay leaves it."""
    payloads = {row["id"]: row["payload"] for row in db.messages()}
    return [_record(entry, payloads[entry.id]) for entry in ledger.committed]


def test_checker_finds_nothing_wrong_with_a_topic_of_all_messages_and_lets_them_be_there_twice(
    db: Session, ledger: Ledger
) -> None:
    assert _found(ledger, db, _records(ledger, db) * 2) == _FOUND


def test_checker_sees_a_message_that_took_effect_and_is_not_in_the_topic(db: Session, ledger: Ledger) -> None:
    assert _found(ledger, db, _records(ledger, db)[1:]) == _FOUND | {"unrecorded": 1}


def test_checker_sees_a_record_that_says_something_else(db: Session, ledger: Ledger) -> None:
    records = _records(ledger, db)
    records[2] = replace(records[2], value=chat_payload("text 3", "a").encode())
    assert _found(ledger, db, records) == _FOUND | {"unrecorded": 1}


def test_checker_sees_a_record_of_a_message_that_never_committed(db: Session, ledger: Ledger) -> None:
    records = _records(ledger, db)
    never = replace(ledger.committed[0], id=10**9)
    assert _found(ledger, db, [*records, _record(never, chat_payload("text 0", "a"))]) == _FOUND | {"strangers": 1}


def test_checker_lets_an_id_of_a_message_in_doubt_be_given_out_again(db: Session, ledger: Ledger) -> None:
    first = ledger.committed[0]
    never = Entry(first.id, "chat", "b", 7, "user", "its COMMIT never came, and another server took over")
    assert _found(Ledger(ledger.committed, [never]), db, _records(ledger, db)) == _FOUND
