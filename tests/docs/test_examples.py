"""What the docs show is what happens: the sessions of README.md line by line, and no COMMENT has a wrong example."""

import json
import re
from collections.abc import Iterator

import pytest

from tests.docs import reference
from tests.docs.test_docs import read
from tests.docs.transcript import Transcript, comparable, transcripts
from tests.kit.installing import Client, client_of, empty_database, migrate
from tests.kit.server import Server
from tests.kit.session import Session
from tests.servers.mysql_install import MySQLInstall
from tests.servers.paths import CHECKOUT

DATABASE = "outboxd_examples"
ROUTINES = [routine for routine in reference.routines() if "\n\nExample\n" in routine.comment]
# The client's errors for what an example must not have: syntax, unknown names, another number of arguments.
_MISTAKE = re.compile(r"ERROR (?:1064|1054|1318|1414|1305 .*PROCEDURE) .*")


@pytest.fixture(scope="module")
def client(mysql_programs: MySQLInstall, mysql_server: Server) -> Client:
    """The mysql client, on the test server."""
    return client_of(mysql_programs, mysql_server)


@pytest.fixture
def shop(mysql_server: Server) -> Iterator[Session]:
    """A database with outboxd and the shop's table of orders."""
    with empty_database(mysql_server, DATABASE) as session:
        migrate(mysql_server, DATABASE)
        session.execute("CREATE TABLE orders (id BIGINT AUTO_INCREMENT PRIMARY KEY, customer VARCHAR(64))")
        yield session


def run_the_daemon(session: Session) -> None:
    """What a daemon does to whatever is pending, due or not."""
    session.execute("UPDATE agent_outbox_messages SET next_retry_at = UTC_TIMESTAMP(6)")
    for message in session.claim():
        session.call("outbox_mark_published_v1", message["id"])
        session.consume(message["id"])


def receive_orders(session: Session, *orders: int) -> None:
    """What a daemon does to the events of another outbox."""
    event = {"source": "/outboxd/shop/7b6a5f0c", "type": "order_placed", "topic": "orders", "partition": 0}
    records = [
        event | {"id": str(order), "key": "Ada", "offset": order, "payload": f'{{"order": {order}}}'}
        for order in orders
    ]
    for row in session.call("outbox_receive_v1", json.dumps(records)):
        session.consume(row["id"])


def test_sessions_of_the_readme_go_as_shown(shop: Session, client: Client) -> None:
    for transcript in transcripts(read("README.md")):
        if transcript.typed.startswith("SELECT * FROM shipments"):
            run_the_daemon(shop)
        if "FROM parcels" in transcript.typed:
            receive_orders(shop, 1, 2)
        # Newer clients take \G from a terminal only.
        look = "--vertical" if r"\G" in transcript.typed else "--table"
        printed = client.run(DATABASE, transcript.typed.replace(r"\G", ";"), look, "--force")
        errors = [re.sub(r" at line \d+", "", line) for line in printed.stderr.splitlines()]
        assert errors == transcript.errors
        if transcript.output:
            assert comparable(printed.stdout) == transcript.output


def test_worked_example_of_the_architecture_goes_as_shown(shop: Session, mysql_server: Server) -> None:
    shop.claim("relay-a")
    shop.claim("relay-b")
    shop.claim("relay-a")  # gives half of its slots back
    shop.claim("relay-b")
    with mysql_server.connect(DATABASE) as other:
        first = shop.enqueue("ada", topic="orders")
        other.execute("START TRANSACTION")
        uncommitted = other.enqueue("bob", topic="orders")
        third, fourth, fifth = (shop.enqueue(key, topic="orders") for key in ("ada", "bob", "cy"))
        assert [first, uncommitted, third, fourth, fifth] == [1, 2, 3, 4, 5]
        assert shop.column("SELECT CRC32(message_key) % 64 FROM agent_outbox_messages ORDER BY id") == [40, 40, 0, 3]
        assert shop.claim_ids("relay-a") == [1, 3]
        assert shop.claim_ids("relay-b") == [5]
        other.execute("COMMIT")
    assert shop.claim_ids("relay-b") == [2, 4, 5]
    shop.call("outbox_mark_failed_v1", first, "...")
    assert shop.claim_ids("relay-a") == []


def test_batch_handler_of_the_readme_takes_what_it_can_and_leaves_the_rest(shop: Session, client: Client) -> None:
    handler, bulk = (
        next(t.typed for page in pages for t in transcripts(read(page)) if name in t.typed)
        for pages, name in ((["README.md"], "PROCEDURE ship_order_v1"), (["sql/README.md"], "PROCEDURE ship_orders_v1"))
    )
    client.apply(DATABASE, handler, "--table")
    client.apply(DATABASE, bulk, "--table")
    # The handler itself takes nothing any more: what is consumed is consumed in bulk.
    shop.execute("DROP PROCEDURE ship_order_v1")
    shop.execute(
        "CREATE PROCEDURE ship_order_v1 (p_id BIGINT UNSIGNED, p_payload LONGTEXT)"
        " SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 30007"
    )
    (bad,) = shop.column("SELECT id FROM agent_outbox_messages")
    good = [shop.enqueue(f"key {order}", biz_type="order_placed", payload=f'{{"order": {order}}}') for order in (7, 8)]
    assert shop.consume(bad, *good) == {bad: "dead", good[0]: "consumed", good[1]: "consumed"}
    assert shop.rows("SELECT order_id, message_id FROM shipments ORDER BY order_id") == [
        {"order_id": order, "message_id": message} for order, message in zip((7, 8), good, strict=True)
    ]


@pytest.mark.parametrize("routine", ROUTINES, ids=lambda routine: routine.name)
def test_example_of_a_comment_makes_no_mistake(routine: reference.Routine, client: Client, installed: str) -> None:
    example = routine.comment.partition("\n\nExample\n")[2]
    (session,) = transcripts(f"```text\n{re.sub('^  ', '', example, flags=re.MULTILINE)}\n```")
    printed = client.run(installed, session.typed, "--table", "--force")
    errors = printed.stderr.splitlines()
    assert [line for line in errors if _MISTAKE.match(line)] == []
    raised = {line.partition(" at line")[0] for line in errors}
    assert {line.partition(":")[0] for line in session.errors} <= raised


@pytest.fixture(scope="module")
def installed(mysql_server: Server) -> Iterator[str]:
    """A database with outboxd, and with what the examples name."""
    with empty_database(mysql_server, f"{DATABASE}_of_comments") as session:
        migrate(mysql_server, f"{DATABASE}_of_comments")
        session.execute(
            "CREATE TABLE orders (id BIGINT AUTO_INCREMENT PRIMARY KEY, customer VARCHAR(64));"
            "CREATE PROCEDURE on_order_paid (p_id BIGINT UNSIGNED, p_payload LONGTEXT) SELECT p_id"
        )
        session.enqueue()
        yield f"{DATABASE}_of_comments"


def test_transcript_is_taken_apart() -> None:
    page = "```text\nmysql> SELECT 1;\n+---+\n| 1 |\n+---+\nmysql> CALL\n    ->   x();\nERROR 1305 (42000): no\n```"
    (transcript,) = transcripts(page)
    assert transcript == Transcript("SELECT 1;\nCALL\n  x();", "+---+\n| 1 |\n+---+\nERROR 1305 (42000): no")
    assert (transcript.output, transcript.errors) == (["+-+", "| 1 |", "+-+"], ["ERROR 1305 (42000): no"])


def test_numbers_of_the_demo_are_those_of_its_file() -> None:
    (sample,) = (CHECKOUT / "driver" / "outboxd").rglob("sample_chat.jsonl")
    messages = len(sample.read_text(encoding="utf-8").splitlines())
    assert f"    {messages} messages, {messages} persisted, 0 duplicated" in read("README.md")
