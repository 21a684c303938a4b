"""No outbox takes another's messages: two of one name on one topic, and one that lost transactions in a failover."""

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from tests.end_to_end.own_servers import SMALL, OwnMySQL
from tests.kit.command import Invoke
from tests.kit.daemon import QUICK, Daemon, StartDaemon, daemons
from tests.kit.kafka import create_topic
from tests.kit.server import Connect, Server
from tests.kit.session import Session, chat_payload
from tests.servers.kafka import RunningKafka
from tests.servers.mysql_install import MySQLInstall

pytestmark = pytest.mark.kafka

REPLICATED = (*SMALL, "--gtid-mode=ON", "--enforce-gtid-consistency=ON")


@pytest.fixture
def pair(mysql_programs: MySQLInstall, tmp_path: Path) -> Iterator[tuple[OwnMySQL, OwnMySQL]]:
    """Two MySQL servers, each with nothing in it."""
    with ExitStack() as cleanup:
        servers = []
        for number in (1, 2):
            own = OwnMySQL(mysql_programs, tmp_path / f"mysql-{number}", (*REPLICATED, f"--server-id={number}"))
            cleanup.callback(own.end)
            own.start()
            servers.append(own)
        yield servers[0], servers[1]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[StartDaemon]:
    """Start daemons with default settings, but for the addresses."""
    with daemons(tmp_path, {**QUICK, "kafka_options": {}, "metrics_address": ""}) as starting:
        yield starting


def enqueue(session: Session, topic: str, words: str, count: int) -> list[str]:
    """Chat of some keys; returns its texts."""
    texts = [f"{words} {number}" for number in range(count)]
    session.execute("START TRANSACTION")
    for number, text in enumerate(texts):
        session.enqueue(f"k-{number % 7}", topic=topic, payload=chat_payload(text))
    session.execute("COMMIT")
    return texts


def is_done(session: Session) -> bool:
    return set(session.statuses().values()) == {"consumed"}


def test_two_installations_of_one_name_share_a_topic_and_take_only_their_own(
    pair: tuple[OwnMySQL, OwnMySQL], kafka_broker: RunningKafka, start: StartDaemon
) -> None:
    topic = create_topic(kafka_broker.bootstrap, 4)
    with ExitStack() as sessions:
        expected, found, foreign = {}, {}, 0
        running: dict[str, tuple[Session, Daemon]] = {}
        for words, own in zip(("one", "two"), pair, strict=True):
            own.prepare()
            session = sessions.enter_context(own.connect())
            expected[words] = enqueue(session, topic, words, 200)
            daemon = start(mysql_url=own.url, kafka_bootstrap=kafka_broker.bootstrap, topics=topic)
            running[words] = session, daemon
        for session, daemon in running.values():
            daemon.eventually(partial(is_done, session), "all is consumed")
        for words, (session, daemon) in running.items():
            found[words] = session.chats()
            foreign += sum(event.get("records", 1) for event in daemon.events("foreign"))
        assert {words: sorted(texts) for words, texts in found.items()} == {
            words: sorted(texts) for words, texts in expected.items()
        }
        assert foreign > 0
        assert len({session.source() for session, _ in running.values()}) == 2


def test_failover_that_loses_transactions_gives_no_new_message_the_effect_of_a_lost_one(
    pair: tuple[OwnMySQL, OwnMySQL], kafka_broker: RunningKafka, start: StartDaemon
) -> None:
    """Asynchronous replication: the source relays messages that its replica never got, and dies."""
    source, replica = pair
    topic = create_topic(kafka_broker.bootstrap, 2)
    with replica.connect_as_root() as here, source.connect_as_root() as there:
        there.execute("CREATE USER replication; GRANT REPLICATION SLAVE ON *.* TO replication")
        here.execute(
            f"CHANGE REPLICATION SOURCE TO SOURCE_HOST = '{source.host}', SOURCE_PORT = {source.port},"
            " SOURCE_USER = 'replication', SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1; START REPLICA"
        )
        source.prepare()
        with source.connect() as session:
            both = enqueue(session, topic, "on both", 5)
            gtids = there.value("SELECT @@GLOBAL.gtid_executed")
            assert here.value("SELECT WAIT_FOR_EXECUTED_GTID_SET(%s, 60)", gtids) == 0
            here.execute("STOP REPLICA; RESET REPLICA ALL")
            enqueue(session, topic, "lost", 20)
            relay = start("--only", "relay", mysql_url=source.url, kafka_bootstrap=kafka_broker.bootstrap, topics="")
            relay.eventually(lambda: set(session.statuses().values()) == {"published"}, "Kafka has all")
            was = session.source()
    relay.kill()
    source.kill()
    with replica.connect() as session:
        assert session.source() == was
        new = enqueue(session, topic, "new", 20)
        daemon = start(mysql_url=replica.url, kafka_bootstrap=kafka_broker.bootstrap, topics=topic)
        daemon.eventually(lambda: is_done(session), "all is consumed")
        assert sorted(session.chats()) == sorted([*both, *new])
    reasons = [str(event.get("reason")) for event in daemon.events("foreign")]
    assert any("its ce_time is not that of message" in reason for reason in reasons), reasons


def test_copy_of_a_database_gets_an_identity_of_its_own(
    invoke: Invoke, db: Session, connect: Connect, mysql_server: Server, installed_database: str
) -> None:
    before = db.source()
    owner_url = f"mysql://{mysql_server.user}@{mysql_server.host}:{mysql_server.port}/{installed_database}"
    try:
        done = invoke("migrate", "--new-identity", mysql_url=owner_url)
        assert done.exit_code == 0, done.output
        after = db.source()
        assert after != before
        assert after.rpartition("/")[0] == before.rpartition("/")[0]
        assert f"new identity: source {after}, consumer group outboxd-{after.rpartition('/')[2]}" in done.stdout
        assert connect().value("SELECT COUNT(*) FROM outbox_audit WHERE action = 'new_identity'") == 1
    finally:
        db.execute(
            "UPDATE outbox_installation SET installation_id = CONCAT(%s, SUBSTR(installation_id, 9))", before[-8:]
        )
