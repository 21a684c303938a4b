"""What fits into one transaction of the server: batches are cut by bytes, and payloads stay out of the binary log."""

import json
from collections.abc import Iterator

import pytest

from tests.kit.installing import OWNER_RIGHTS, create_account, migrate
from tests.kit.large import MIB, put
from tests.kit.server import Server
from tests.kit.session import Session, chat_payload, log_end, refused

_OWNER, _DATABASE = "outboxd_fit_owner", "outboxd_fit"


def test_batch_of_a_claim_ends_at_16_mib_of_payload_and_has_at_least_one_message(db: Session) -> None:
    small = put(db, 40, MIB)
    large = put(db, 1, 20 * MIB, first_key=100)
    rest = put(db, 3, 1000, first_key=200)
    batches = []
    while claimed := db.claim_ids():
        batches.append(claimed)
        db.execute(f"UPDATE agent_outbox_messages SET status = 'published' WHERE id IN ({str(claimed)[1:-1]})")
    assert [len(batch) for batch in batches] == [15, 15, 10, 1, 3]
    assert [message for batch in batches for message in batch] == small + large + rest


def test_many_small_messages_are_one_batch(db: Session) -> None:
    messages = put(db, 1500, 200)
    assert len(db.claim_ids(limit=2000)) > 750
    assert len(messages) == 1500


def test_fit_counts_each_row_twice_and_keeps_at_least_one(db: Session) -> None:
    messages = put(db, 600, 10_000)

    def fit(ids: list[int] | None, most: int | None) -> tuple[list[int], int, int]:
        db.execute("SET @ids = %s", json.dumps(ids))
        db.execute("CALL outbox_internal_fit_v1(@ids, %s, @messages, @bytes)", most)
        row = db.row("SELECT @ids AS ids, @messages AS messages, @bytes AS bytes")
        return json.loads(row["ids"] or "null") or [], int(row["messages"]), int(row["bytes"])

    kept, count, size = fit(messages, 1_000_000)
    assert kept == messages[:count]
    assert 2 * 10_000 * count < size <= 1_000_000 < size + 21_000
    assert fit(messages, None)[1] == 600
    assert fit(messages, 1)[:2] == (messages[:1], 1)
    assert fit([], None) == ([], 0, 0)
    assert fit([10**9], None)[1] == 1


@pytest.fixture
def small(db: Session) -> Iterator[None]:
    """Transactions of at most 2 MiB."""
    assert db.call("outbox_set_transaction_bytes_v1", 2 * MIB) == [{"bytes": 2 * MIB, "changed": 1}]
    yield
    db.call("outbox_set_transaction_bytes_v1", None)


@pytest.mark.usefixtures("small")
def test_operator_sets_how_large_transactions_get(db: Session) -> None:
    messages = put(db, 3, MIB // 2)
    assert db.claim_ids() == messages[:1]
    chats = [db.enqueue_published(f"chat {number}", payload=chat_payload("x" * (MIB // 2))) for number in range(5)]
    assert list(db.consume_once(*chats).values()) == ["consumed"] * 3 + ["not reached"] * 2
    assert db.call("outbox_set_transaction_bytes_v1", 2 * MIB) == [{"bytes": 2 * MIB, "changed": 0}]
    assert db.call("outbox_set_transaction_bytes_v1", None) == [{"bytes": 32 * MIB, "changed": 1}]
    assert db.claim_ids() == messages
    changes = db.rows("SELECT details FROM outbox_audit WHERE action = 'set_transaction_bytes' ORDER BY id")
    assert [json.loads(row["details"])["after"] for row in changes] == [2 * MIB, 32 * MIB]


@pytest.mark.parametrize("size", [0, -1, MIB - 1, 1024 * MIB + 1])
def test_size_of_transactions_that_is_out_of_range_is_refused(db: Session, size: int) -> None:
    with refused(30005, f"p_bytes {size} is not within"):
        db.call("outbox_set_transaction_bytes_v1", size)


def test_mark_writes_no_payload_to_the_binary_log_where_the_definer_may_avoid_it(db: Session) -> None:
    assert written_by_a_mark(db) < 10_000
    assert db.value("SELECT @@binlog_row_image") == "FULL"


def test_definer_without_the_privilege_has_payloads_in_the_binary_log(ordinary: Session) -> None:
    assert written_by_a_mark(ordinary) > 2_000_000


@pytest.fixture
def ordinary(mysql_server: Server) -> Iterator[Session]:
    """A session on a database whose owner has the rights that sql/grants.sql asks for, and no others."""
    mysql_server.create_database(_DATABASE)
    with mysql_server.connect(_DATABASE) as session:
        create_account(session, _OWNER, f"GRANT {OWNER_RIGHTS} ON {_DATABASE}.*")
        migrate(mysql_server, _DATABASE, _OWNER)
        yield session
        session.execute(f"DROP DATABASE {_DATABASE}; DROP USER {_OWNER}")


def written_by_a_mark(db: Session) -> int:
    """How many bytes the binary log gets for the mark of ten messages of 100,000 bytes."""
    put(db, 10, 100_000)
    claimed = db.claim()
    before = log_end(db)
    assert db.mark("published", claimed) == 10
    return log_end(db) - before
