"""One daemon, many databases: each is served as if it were alone, and none waits for another that is away."""

import signal
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest

from tests.end_to_end.own_servers import OwnMySQL
from tests.kit.account import Account
from tests.kit.command import Setting
from tests.kit.daemon import QUICK, Daemon, StartDaemon, daemons
from tests.kit.kafka import QUICK_GROUP, create_topic
from tests.kit.mock_cluster import MockCluster
from tests.kit.names import unused
from tests.kit.observing import OBSERVED, observe
from tests.kit.session import Session, chat_payload
from tests.kit.waiting import eventually
from tests.servers.kafka import RunningKafka


@pytest.fixture
def far(own_mysql: OwnMySQL) -> Iterator[Session]:
    """A session on the outbox of a second server, without messages."""
    own_mysql.start()
    with own_mysql.connect() as session:
        session.clean()
    with own_mysql.connect() as session:
        yield session


class Configuration:
    """The file in which daemons of the folder find their databases."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "outboxd.toml"

    def write(self, databases: Mapping[str, str], **settings: str) -> None:
        """Have these databases, each an address."""
        lines = [f'{name} = "{value}"' for name, value in settings.items()]
        for name, url in databases.items():
            lines += [f"[databases.{name}]", f'mysql_url = "{url}"']
        self._file.write_text("\n".join(lines), encoding="utf-8")

    def spoil(self) -> None:
        """Have nothing that can be understood."""
        self._file.write_text("[databases.near]\nmysql_url = 7\n", encoding="utf-8")


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    return Configuration(tmp_path)


@pytest.fixture
def urls(account: Account, own_mysql: OwnMySQL) -> dict[str, str]:
    """The databases of the fleet by name: one on each of two servers."""
    return {"near": account.url, "far": own_mysql.url}


@pytest.fixture
def start(cluster: MockCluster, account: Account, db: Session, tmp_path: Path) -> Iterator[StartDaemon]:
    """Start daemons that find their databases in the file."""
    cluster.create_topic("chat")
    base: dict[str, Setting] = {
        "kafka_bootstrap": cluster.bootstrap,
        "kafka_options": QUICK_GROUP,
        "topics": "chat",
        "group": "shop",
        "metrics_address": "",
        **QUICK,
    }
    with daemons(tmp_path, base) as starting:
        yield starting
    account.settle(db)


def enqueue(session: Session, words: str, count: int) -> list[str]:
    """Chat of some keys; returns its texts, in the order in which each key has them."""
    texts = [f"{words} {number}" for number in range(count)]
    session.execute("START TRANSACTION")
    for number, text in enumerate(texts):
        session.enqueue(f"k-{number % 7}", payload=chat_payload(text, f"k-{number % 7}"))
    session.execute("COMMIT")
    return texts


def by_key(session: Session) -> dict[str, list[str]]:
    """What took effect of each key, in its order."""
    found: dict[str, list[str]] = {}
    for row in session.rows("SELECT chat_id, message_content AS text FROM chat_histories ORDER BY id"):
        found.setdefault(row["chat_id"], []).append(row["text"])
    return found


def expected(*texts: str) -> dict[str, list[str]]:
    """The texts that enqueue() has returned, by key."""
    found: dict[str, list[str]] = {}
    for text in texts:
        found.setdefault(f"k-{int(text.rpartition(' ')[2]) % 7}", []).append(text)
    return found


def is_done(session: Session) -> bool:
    return set(session.statuses().values()) <= {"consumed"}


def owned(session: Session) -> int:
    """How many slots have a relay."""
    return int(session.value("SELECT COUNT(*) FROM outbox_slots WHERE relay IS NOT NULL"))


def test_each_database_gets_its_own_records_and_each_record_is_read_once(
    start: StartDaemon, configuration: Configuration, urls: dict[str, str], db: Session, far: Session
) -> None:
    configuration.write(urls)
    texts = {name: enqueue(session, name, 200) for name, session in (("near", db), ("far", far))}
    seen = observe(start(**OBSERVED))
    for session in (db, far):
        seen.daemon.eventually(partial(is_done, session), "all is consumed")
    assert (by_key(db), by_key(far)) == (expected(*texts["near"]), expected(*texts["far"]))
    assert seen.daemon.events("foreign") == []
    for name in urls:
        seen.turns("/metrics", 200, f'outboxd_records_consumed_total{{database="{name}",outcome="consumed"}} 200.0')
        seen.turns("/metrics", 200, f'outboxd_slots_owned{{database="{name}"}} 64.0')
    (started,) = seen.daemon.events("started")
    assert started["databases"] == {"near": db.source(), "far": far.source()}
    assert seen.daemon.stop() == 0
    assert (owned(db), owned(far)) == (0, 0)


def test_database_that_is_away_keeps_no_other_waiting_and_loses_nothing(
    start: StartDaemon,
    configuration: Configuration,
    urls: dict[str, str],
    db: Session,
    far: Session,
    own_mysql: OwnMySQL,
) -> None:
    configuration.write(urls)
    lost = enqueue(far, "far", 300)
    seen = observe(start(batch_size=20, **OBSERVED))
    seen.daemon.eventually(lambda: far.value("SELECT COUNT(*) FROM chat_histories") > 0, "some have taken effect")
    own_mysql.kill()
    texts = enqueue(db, "near", 300)
    seen.daemon.eventually(lambda: is_done(db), "the other goes on")
    assert by_key(db) == expected(*texts)
    seen.daemon.says("unavailable", database="far")
    seen.turns("/readyz", 503, "far: MySQL: ")
    assert not [event for event in seen.daemon.events("unavailable", database="near") if "connect" in event["reason"]]
    own_mysql.start()
    with own_mysql.connect() as session:
        seen.daemon.eventually(lambda: is_done(session), "and the first, when it is back")
        assert by_key(session) == expected(*lost)
    seen.turns("/readyz", 200, "ok")


def test_daemon_that_starts_without_a_database_serves_the_others_and_that_one_later(
    start: StartDaemon,
    configuration: Configuration,
    urls: dict[str, str],
    db: Session,
    far: Session,
    own_mysql: OwnMySQL,
) -> None:
    configuration.write(urls)
    first = start("--only", "relay")
    theirs = enqueue(far, "far", 50)
    first.eventually(lambda: set(far.statuses().values()) == {"published"}, "records of both are in Kafka")
    assert first.stop() == 0
    own_mysql.kill()
    texts = enqueue(db, "near", 50)
    daemon = start()
    daemon.says("not served yet", database="far")
    daemon.eventually(lambda: is_done(db), "the other is served")
    assert by_key(db) == expected(*texts)
    own_mysql.start()
    daemon.says("serves", database="far")
    with own_mysql.connect() as session:
        daemon.eventually(lambda: is_done(session), "its records have waited for it")
        assert by_key(session) == expected(*theirs)
        assert session.value("SELECT MAX(retry_count) FROM agent_outbox_messages") == 0
    assert daemon.events("foreign") == []


def test_databases_come_and_go_with_sighup(
    start: StartDaemon, configuration: Configuration, urls: dict[str, str], db: Session, far: Session
) -> None:
    configuration.write({"near": urls["near"]})
    daemon = start()
    daemon.says("started")
    texts = enqueue(db, "near", 50)
    theirs = enqueue(far, "far", 50)
    daemon.eventually(lambda: is_done(db), "the only one is served")
    assert owned(far) == 0

    configuration.write(urls)
    daemon.send(signal.SIGHUP)
    daemon.says("reloaded", new=["far"], gone=[])
    daemon.eventually(lambda: is_done(far), "the new one, too")
    assert by_key(far) == expected(*theirs)

    configuration.spoil()
    daemon.send(signal.SIGHUP)
    daemon.says("not reloaded")
    (refused,) = daemon.events("not reloaded")
    assert "databases.near.mysql_url" in refused["reason"]
    texts += enqueue(db, "near", 100)[50:]
    daemon.eventually(lambda: is_done(db), "they are served as before")

    configuration.write({"far": urls["far"]})
    daemon.send(signal.SIGHUP)
    daemon.says("reloaded", new=[], gone=["near"])
    eventually(lambda: owned(db) == 0, what="the slots are given back")
    enqueue(db, "nobody's", 5)
    theirs += enqueue(far, "far", 100)[50:]
    daemon.eventually(lambda: is_done(far), "the other goes on")
    assert list(db.statuses().values()).count("pending") == 5
    assert daemon.stop() == 0


def test_setting_of_the_whole_daemon_does_not_change_with_sighup(
    start: StartDaemon, configuration: Configuration, urls: dict[str, str], db: Session, far: Session
) -> None:
    assert (is_done(db), is_done(far)) == (True, True)
    configuration.write(urls, name="one")
    daemon = start()
    daemon.says("started")
    configuration.write(urls, name="two")
    daemon.send(signal.SIGHUP)
    daemon.says("not reloaded", reason="setting name holds for the whole daemon: restart it, or set name back")
    assert daemon.stop() == 0


def test_database_without_a_schema_is_told_and_keeps_no_other_from_being_served(
    start: StartDaemon,
    configuration: Configuration,
    urls: dict[str, str],
    db: Session,
    fresh_database: str,
    account: Account,
) -> None:
    db.execute(f"GRANT EXECUTE ON {fresh_database}.* TO {account.name}")
    empty = urls["near"].rpartition("/")[0] + f"/{fresh_database}"
    configuration.write({"near": urls["near"], "empty": empty})
    enqueue(db, "near", 20)
    seen = observe(start(**OBSERVED))
    seen.daemon.eventually(lambda: is_done(db), "the other is served")
    seen.daemon.says("failed", database="empty")
    (failed,) = seen.daemon.events("failed", database="empty")
    assert f"database {fresh_database} lacks migration" in failed["error"]
    seen.turns("/readyz", 503, "empty: watcher failed: database")
    seen.turns("/healthz", 200, "ok")


def test_database_receives_what_its_sibling_sends(
    start: StartDaemon, configuration: Configuration, urls: dict[str, str], db: Session, far: Session
) -> None:
    configuration.write(urls)
    far.call("outbox_subscribe_v1", db.source(), "news", "chat_history_persist")
    daemon = start()
    try:
        for number in range(20):
            db.enqueue(f"k-{number % 3}", biz_type="news", payload=chat_payload(f"news {number}", f"k-{number % 3}"))
        own = enqueue(far, "far", 20)
        daemon.eventually(lambda: is_done(db) and len(far.chats()) == 40, "received and consumed")
        assert sorted(far.chats()) == sorted([*own, *(f"news {number}" for number in range(20))])
        assert db.chats() == []
    finally:
        far.call("outbox_unsubscribe_v1", db.source(), "news")


def test_database_that_rests_has_no_session_and_is_woken_by_a_message(
    start: StartDaemon, configuration: Configuration, urls: dict[str, str], db: Session, far: Session, account: Account
) -> None:
    configuration.write(urls)
    seen = observe(start(rest_seconds=1, **OBSERVED))

    def sessions() -> int:
        return int(db.value("SELECT COUNT(*) FROM performance_schema.processlist WHERE user = %s", account.name))

    def is_consumed(message: int) -> bool:
        return db.statuses()[message] == "consumed"

    for number in range(2):
        seen.daemon.eventually(lambda: 'outboxd_resting{database="near"} 1.0' in seen.text("/metrics"), "it rests")
        assert owned(db) == 0
        eventually(lambda: sessions() <= 3, what="the watcher's, the recovery's, the sampler's")
        message = db.enqueue(f"key {number}")
        seen.daemon.eventually(partial(is_consumed, message), "it is woken")
    assert is_done(far)


@pytest.mark.kafka
def test_daemon_with_other_databases_stands_aside_until_all_have_the_same(
    configuration: Configuration,
    urls: dict[str, str],
    db: Session,
    far: Session,
    account: Account,
    kafka_broker: RunningKafka,
    tmp_path: Path,
) -> None:
    topic = create_topic(kafka_broker.bootstrap, 4)
    base: dict[str, Setting] = {
        "kafka_bootstrap": kafka_broker.bootstrap,
        "topics": topic,
        "group": unused("fleet"),
        "metrics_address": "",
        **QUICK,
    }

    def send(session: Session, words: str) -> None:
        for number in range(20):
            session.enqueue(f"k-{number % 7}", topic=topic, payload=chat_payload(f"{words} {number}"))

    with daemons(tmp_path, base) as starting:
        configuration.write({**urls, "third": urls["near"].replace("outboxd_tests", "not_there")})
        old = starting()
        old.says("started")
        send(db, "one")
        old.eventually(lambda: is_done(db), "consumed by the old one")
        configuration.write(urls)
        new: Daemon = starting()
        new.says("stands aside", group=base["group"])
        send(far, "two")
        old.eventually(lambda: is_done(far), "the old one goes on")
        old.send(signal.SIGHUP)
        new.says("joins")
        send(db, "three")
        new.eventually(lambda: is_done(db), "and they share the work")
        assert (new.events("foreign"), old.events("foreign")) == ([], [])
    account.settle(db)
