"""The commands with hostile arguments, and hostile texts in what they print."""

import json
from collections.abc import Iterator

import pytest
import structlog

from tests.kit.account import Account
from tests.kit.session import Session, chat_payload
from tests.security import bystanders, hostile
from tests.security.terminal import OnTerminal, on_terminal

# Commands that take a text, with {} in its place; none matches anything, and so none changes anything.
_WITH_TEXT = (
    ("dead", "list", "--topic", "{}"),
    ("dead", "list", "--biz-type", "{}"),
    ("dead", "requeue", "--topic", "{}", "--yes"),
    ("dead", "requeue", "--biz-type", "{}", "--yes"),
    ("dead", "discard", "--topic", "{}", "--yes"),
    ("dead", "discard", "--topic", "nowhere", "--error", "{}", "--yes"),
    ("resume", "--topic", "{}"),
    ("replay", "--topic", "{}", "--yes"),
    ("replay", "--biz-type", "{}", "--yes"),
    ("audit", "--action", "{}"),
    ("biz-type", "set", "odd", "--handler", "{}"),
)
_TEXTS = hostile.QUOTES[:5]
# Commands that take no text in this place: wrong usage, before MySQL is asked for anything.
_WITHOUT_TEXT = (
    ("show", "{}"),
    ("dead", "show", "{}"),
    ("dead", "requeue", "{}"),
    ("dead", "list", "--before", "{}"),
    ("dead", "list", "--limit", "{}"),
    ("purge", "--yes", "--older-than", "{}"),
    ("recover", "--yes", "--older-than", "{}"),
    ("replay", "--yes", "--from-id", "{}"),
    ("biz-type", "set", "odd", "--ordering", "{}"),
)


@pytest.fixture
def outboxd(account: Account) -> Iterator[OnTerminal]:
    """Call a command on a terminal."""
    yield on_terminal(account.url)
    structlog.reset_defaults()  # the command has pointed the log to a stream that is gone


@pytest.fixture
def operator(db: Session) -> Iterator[OnTerminal]:
    """Call a command on a terminal, as an account that may do everything in the database."""
    db.execute("DROP USER IF EXISTS outboxd_all; CREATE USER outboxd_all")
    db.execute(f"GRANT ALL ON {db.value('SELECT DATABASE()')}.* TO outboxd_all")
    host, port = db.row("SELECT @@bind_address AS host, @@port AS port").values()
    yield on_terminal(f"mysql://outboxd_all@{host}:{port}/{db.value('SELECT DATABASE()')}")
    db.execute("DROP USER outboxd_all")
    structlog.reset_defaults()


def with_text(command: tuple[str, ...], text: str) -> list[str]:
    return [text if word == "{}" else word for word in command]


@pytest.mark.parametrize("command", _WITH_TEXT, ids=" ".join)
def test_text_in_an_argument_is_only_ever_a_text(operator: OnTerminal, db: Session, command: tuple[str, ...]) -> None:
    bystanders.arrange(db)
    before = bystanders.look(db)
    for text in _TEXTS:
        done = operator(*with_text(command, text))
        assert done.exit_code in (0, 1), (text, done.output)
        assert "1064" not in f"{done.output}{done.exception}"
    assert bystanders.look(db).added(before) == {}


@pytest.mark.parametrize("command", _WITHOUT_TEXT, ids=" ".join)
def test_text_in_the_place_of_a_number_is_wrong_usage(
    outboxd: OnTerminal, db: Session, command: tuple[str, ...]
) -> None:
    bystanders.arrange(db)
    before = bystanders.look(db)
    for text in (*_TEXTS, "1 OR 1=1", "1;", "0x1", "1e1", "-1 "):
        assert outboxd(*with_text(command, text)).exit_code == 2, text
    assert bystanders.look(db).added(before) == {}


def test_lines_and_topics_that_are_enqueued_are_only_ever_texts(outboxd: OnTerminal, db: Session) -> None:
    for text in (*_TEXTS, *hostile.SQL[-4:]):
        lines = [
            {"user_id": 7, "conversation_id": text, "role": text[:32], "message": text, text: text},
            {"biz_type": text, "key": text, "payload": {text: text}, "headers": {text: text}},
        ]
        stdin = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        done = outboxd("enqueue", "--topic", "chat", "-", stdin=stdin)
        assert done.output == "2 enqueued, 0 rejected\n", text
        chat, other = db.messages()
        assert chat["message_key"] == text
        assert json.loads(chat["payload"])["message"] == text
        assert [other[name] for name in ("biz_type", "message_key")] == [text, text]
        assert json.loads(other["payload"]) == json.loads(other["headers"]) == {text: text}
        topic = outboxd("enqueue", "--topic", text, "-", stdin=stdin)
        assert topic.output.endswith("0 enqueued, 2 rejected\n"), text
        db.clean()


def arrange_orders(db: Session) -> dict[str, int]:
    """A message of each kind whose every text would give orders to a terminal."""
    text = hostile.TERMINAL
    pending, dead, consumed = (
        db.adopt(text, biz_type=text, topic=text, payload=json.dumps({text: text}), headers={text: text})
        for _ in range(3)
    )
    db.call("outbox_mark_dead_v1", dead, text)
    db.execute("UPDATE agent_outbox_messages SET status = 'consumed', next_retry_at = NULL WHERE id = %s", consumed)
    db.register(text, "outbox_internal_write_chat_history_v1")
    db.call("outbox_pause_v1", text, None)
    db.call("outbox_pause_v1", None, text)
    db.claim(text, 1)
    return {"pending": pending, "dead": dead}


@pytest.mark.parametrize(
    "command",
    [
        ("status",),
        ("top", "--once"),
        ("show", "{pending}"),
        ("dead", "list"),
        ("dead", "show", "{dead}"),
        ("pause",),
        ("pause", "--topic", hostile.TERMINAL),
        ("resume", "--topic", hostile.TERMINAL),
        ("resume", "--biz-type", hostile.TERMINAL),
        ("biz-type", "list"),
        ("biz-type", "set", hostile.TERMINAL, "--max-retry", "3"),
        ("audit",),
        ("audit", "--json"),
        ("replay", "--yes", "--topic", hostile.TERMINAL),
        ("dead", "requeue", "--yes", "--topic", hostile.TERMINAL),
    ],
    ids=" ".join,
)
def test_what_was_written_into_a_message_gives_no_orders_to_a_terminal(
    operator: OnTerminal, db: Session, command: tuple[str, ...]
) -> None:
    ids = arrange_orders(db)
    done = operator(*(word if word == hostile.TERMINAL else word.format(**ids) for word in command))
    assert done.exit_code == 0, (done.output, done.exception)
    assert not hostile.is_obeyed(done.output), repr(done.output)
    if command[0] in {"top", "show", "pause", "audit"} or command[1:2] in {("list",), ("show",), ("set",)}:
        assert hostile.ON_THE_LINE in done.output, repr(done.output)


def test_reasons_for_refused_lines_give_no_orders_to_a_terminal(outboxd: OnTerminal, db: Session) -> None:
    text = hostile.TERMINAL
    lines = [
        {"user_id": 7, "conversation_id": "c", "role": text, "message": "hi"},
        {"biz_type": text * 10, "key": "k", "payload": "{}"},
        {"biz_type": "b", "key": "k", "payload": text},
        {"biz_type": "b", "key": {text: text}, "payload": "{}"},
    ]
    done = outboxd("enqueue", "--topic", "chat", "-", stdin="\n".join(map(json.dumps, lines)).encode())
    assert db.messages() == []
    assert done.stderr.count("line ") == len(lines)
    assert not hostile.is_obeyed(done.output), repr(done.output)


def test_one_message_is_printed_on_its_own_lines_only(operator: OnTerminal, db: Session) -> None:
    message = db.enqueue("k\nstatus         consumed", payload=chat_payload())
    shown = operator("show", str(message)).output.splitlines()
    assert [line for line in shown if line.startswith("status ")] == ["status         pending"]
