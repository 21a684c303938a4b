"""`outboxd doctor` on a real broker: settings of topics that lose or stop records, and consumers that do not get on."""

import json
from collections.abc import Iterator

import pytest

from tests.kit.command import Invoke
from tests.kit.daemon import StartDaemon
from tests.kit.doctor import Found, findings, to_be_done
from tests.kit.kafka import create_topic
from tests.kit.session import Session
from tests.kit.waiting import eventually
from tests.servers.kafka import RunningKafka

pytestmark = pytest.mark.kafka

# Settings of a topic with one replica; what is found, and what helps.
TOPICS: dict[str, tuple[dict[str, str], str, str, str]] = {
    "more replicas wanted than there are": (
        {"min.insync.replicas": "2"},
        *("FIX", "min.insync.replicas: 2, replicas: 1, in sync: 1", "--add-config min.insync.replicas=1"),
    ),
    "retention shorter than an outage": (
        {"retention.ms": "3600000"},
        *("warn", "retention.ms: 1.0 hours", "--add-config retention.ms=604800000"),
    ),
    "compaction": ({"cleanup.policy": "compact"}, "warn", "cleanup.policy: compact", "cleanup.policy=delete"),
}


@pytest.fixture(autouse=True)
def durable(db: Session) -> Iterator[None]:
    """The tests' server is not durable, which doctor tells: not here."""
    db.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 1; SET GLOBAL sync_binlog = 1")
    yield
    db.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 2; SET GLOBAL sync_binlog = 0")


@pytest.mark.parametrize("name", TOPICS)
def test_setting_of_a_topic_is_found(invoke: Invoke, kafka_broker: RunningKafka, name: str) -> None:
    config, verdict, state, to_do = TOPICS[name]
    topic = create_topic(kafka_broker.bootstrap, 1, **config)
    found = to_be_done(invoke("doctor", kafka_bootstrap=kafka_broker.bootstrap, topics=topic))
    assert set(found) == {f"topic {topic}"}
    assert found[f"topic {topic}"].verdict == verdict
    assert found[f"topic {topic}"].state == state
    assert to_do in found[f"topic {topic}"].to_do


def test_settings_of_a_good_topic_are_listed(invoke: Invoke, kafka_broker: RunningKafka) -> None:
    topic = create_topic(kafka_broker.bootstrap, 1)
    done = invoke("doctor", "--json", kafka_bootstrap=kafka_broker.bootstrap, topics=topic)
    told = json.loads(done.stdout)
    assert (done.exit_code, told["level"]) == (0, "ok")
    states = {finding["state"] for finding in told["findings"] if finding["subject"] == f"topic {topic}"}
    assert states >= {"retention.ms: 168.0 hours", "cleanup.policy: delete", "1 replicas on 1 brokers"}
    assert {finding["to_do"] for finding in told["findings"]} == {None}


def test_json_has_level_and_what_to_do(invoke: Invoke) -> None:
    done = invoke("doctor", "--json", mysql_url="mysql://user@127.0.0.1:1/db", kafka_bootstrap="127.0.0.1:2")
    told = json.loads(done.stdout)
    assert (done.exit_code, told["level"]) == (2, "error")
    (mysql,) = [finding for finding in told["findings"] if finding["subject"] == "MySQL"]
    assert mysql["level"] == "error"
    assert mysql["to_do"] == "see that 127.0.0.1:1 answers"


def test_stuck_consumer_and_one_that_is_gone_are_found(
    invoke: Invoke,
    kafka_broker: RunningKafka,
    start_daemon: StartDaemon,
    db: Session,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("outboxd.commands.doctor.group.WATCH_SECONDS", 3)
    topic = create_topic(kafka_broker.bootstrap, 1)
    db.execute(
        "CREATE PROCEDURE kit_hangs (IN p_id BIGINT UNSIGNED, IN p_payload LONGTEXT CHARACTER SET utf8mb4)"
        " DO SLEEP(600)"
    )
    db.register("hangs", "kit_hangs")
    daemon = start_daemon(kafka_bootstrap=kafka_broker.bootstrap, topics=topic, kafka_options={}, stall_seconds=600)

    def records() -> Found:
        return findings(invoke("doctor", kafka_bootstrap=kafka_broker.bootstrap, topics=topic))["records to read"]

    first = db.enqueue("k", topic=topic)
    daemon.eventually(lambda: db.message(first)["status"] == "consumed", "it is consumed")
    eventually(lambda: records().state == "0 in 1 partitions", seconds=60)
    assert records().verdict == "ok"
    db.enqueue("k", topic=topic, biz_type="hangs", payload="{}")
    stuck = ("FIX", "1 in 1 partitions; within 3 s nothing was committed")
    eventually(lambda: records()[:2] == stuck, seconds=60)
    to_do = records().to_do
    assert "are stuck: their logs say at what (a handler that hangs, a lock)" in to_do
    daemon.kill()
    db.kill_sessions("outboxd_daemon")
    eventually(lambda: "nobody is in the group" in records().state, seconds=90)
    assert records().to_do == "start a consumer: outboxd run"
    db.execute("DROP PROCEDURE kit_hangs")
