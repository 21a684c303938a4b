"""/metrics of the real daemon: its numbers are those of the tables, and its names those of Prometheus' rules."""

import socket
from collections.abc import Mapping
from contextlib import closing

import pytest
from confluent_kafka import KafkaError

from outboxd.mysql.procedures import DaemonProcedures, names
from outboxd.observe import metrics
from tests.kit.command import Run, the_one_line
from tests.kit.daemon import StartDaemon
from tests.kit.kafka import QUICK_GROUP, put
from tests.kit.mock_cluster import PRODUCE, MockCluster
from tests.kit.observing import OBSERVED, application, check, get, observe
from tests.kit.session import CHAT, Session, chat_payload

FINAL = {"consumed", "dead"}


def count(db: Session, condition: str) -> int:
    """How many messages meet a condition."""
    return int(db.value(f"SELECT COUNT(*) FROM agent_outbox_messages WHERE {condition}"))


def of_labels(now: Mapping[str, float], name: str, **labels: str) -> float:
    """The value of the series with these labels, whatever their order."""
    found = [
        value
        for series, value in now.items()
        if series.startswith(f"{name}{{") and all(f'{label}="{text}"' in series for label, text in labels.items())
    ]
    (only,) = found
    return only


def test_streams_are_bounded_in_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_streams_seen", set())
    before = metrics.stream_records.labels("other", "other", "failed")._value.get()
    metrics.count_streams(("bounded", f"type {number % 60}", "failed") for number in range(120))
    metrics.count_streams([("anybody's", "type", "foreign"), ("anybody's", "type", "unknown")])
    streams = [labels for labels in metrics.stream_records._metric._metrics if labels[1] in {"bounded", "anybody's"}]
    assert len(streams) == 50
    assert metrics.stream_records.labels("other", "other", "failed")._value.get() - before == 20


def test_handlers_are_bounded_in_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_types_seen", set())
    before = metrics.handler_seconds.labels("other")._value.get()
    for number in range(120):
        metrics.count_handlers({f"bounded {number % 60}": 1.0})
    types = [labels for labels in metrics.handler_seconds._metric._metrics if labels[1].startswith("bounded")]
    assert len(types) == 50
    assert metrics.handler_seconds.labels("other")._value.get() - before == 20


def test_numbers_are_those_of_the_tables_and_names_keep_to_the_rules_of_prometheus(
    start_daemon: StartDaemon, cluster: MockCluster, db: Session
) -> None:
    for number in range(40):
        db.enqueue(f"key {number}")
    for number in range(2):
        db.enqueue(f"bad {number}", payload='{"role": 7}')
    db.enqueue("large", payload=chat_payload("x" * 3000))
    cluster.create_topic("chat")
    put(cluster.bootstrap, "chat", {"key": "k", "value": "of somebody else"})
    seen = observe(start_daemon(kafka_options={**QUICK_GROUP, "message.max.bytes": 2000}, **OBSERVED))
    seen.daemon.eventually(lambda: set(db.statuses().values()) == FINAL, "everything final")
    seen.eventually(lambda now: now["outboxd_dead_letters"] == 3, "sampled after the end")
    now = seen.metrics()
    assert now["outboxd_messages_claimed_total"] == len(db.messages())
    assert now["outboxd_messages_published_total"] == count(db, "message_key <> 'large'")
    assert now['outboxd_records_consumed_total{outcome="consumed"}'] == count(db, "status = 'consumed'")
    assert now['outboxd_records_consumed_total{outcome="dead"}'] == count(
        db, "status = 'dead' AND message_key <> 'large'"
    )
    assert now['outboxd_records_consumed_total{outcome="foreign"}'] == 1
    assert now['outboxd_messages_dead_total{stage="consumer"}'] == count(
        db, "status = 'dead' AND message_key <> 'large'"
    )
    assert now['outboxd_messages_dead_total{stage="relay"}'] == count(db, "status = 'dead' AND message_key = 'large'")
    assert now["outboxd_dead_letters"] == count(db, "status = 'dead'")
    assert of_labels(now, "outboxd_stream_published_total", topic="chat", biz_type=CHAT) == count(
        db, "message_key <> 'large'"
    )
    for outcome in FINAL:
        assert of_labels(now, "outboxd_stream_records_total", topic="chat", biz_type=CHAT, outcome=outcome) == count(
            db, f"status = '{outcome}' AND message_key <> 'large'"
        )
    assert now['outboxd_batch_messages_sum{stage="relay"}'] == len(db.messages())
    assert now['outboxd_batch_messages_sum{stage="consumer"}'] == count(db, "message_key <> 'large'")
    assert now["outboxd_slots_owned"] == db.value("SELECT COUNT(*) FROM outbox_slots WHERE relay IS NOT NULL") == 64
    assert now['outboxd_partitions_assigned{worker="consumer-0"}'] == 4
    assert now['outboxd_kafka_errors_total{error="MSG_SIZE_TOO_LARGE"}'] >= 1
    called = {name for name in now if name.startswith("outboxd_procedure_duration_seconds_count")}
    assert {name.split('"')[1] for name in called} <= names(DaemonProcedures)  # what `outboxd doctor` looks for
    for procedure in ("outbox_claim_v1", "outbox_mark_published_batch_v1", "outbox_consume_v1", "outbox_lag_v1"):
        assert now[f'outboxd_procedure_duration_seconds_count{{procedure="{procedure}"}}'] > 0
        assert now[f'outboxd_procedure_errors_total{{procedure="{procedure}"}}'] == 0
    for nothing in ('failed_total{stage="relay"}', "deferred_total", "fenced_total", "recovered_total"):
        assert now[f"outboxd_messages_{nothing}"] == 0
    check("promtool", "check", "metrics", stdin=get(seen.address, "/metrics").text)


def test_failures_and_what_they_hold_back_are_counted(start_daemon: StartDaemon, db: Session) -> None:
    with application(db) as app:
        app.business("failing", "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not today'", max_retry=2)
        first = db.enqueue("k", biz_type="failing")
        second = db.enqueue("k")
        seen = observe(start_daemon("--verbose", **OBSERVED))
        seen.daemon.eventually(lambda: db.statuses() == {first: "dead", second: "consumed"}, "all final")
        seen.eventually(lambda now: now['outboxd_records_consumed_total{outcome="consumed"}'] == 1, "counted")
        now = seen.metrics()
        assert now['outboxd_messages_failed_total{stage="consumer"}'] == 1
        assert now['outboxd_messages_dead_total{stage="consumer"}'] == 1
        deferred = sum(event.get("deferred", 0) for event in seen.daemon.events("consumed"))
        assert now["outboxd_messages_deferred_total"] == deferred
        assert now['outboxd_records_consumed_total{outcome="deferred"}'] == deferred


def test_record_that_kafka_refuses_for_now_is_a_failure_of_the_relay(
    start_daemon: StartDaemon, cluster: MockCluster, db: Session
) -> None:
    message = db.enqueue()
    cluster.refuse_next(PRODUCE, KafkaError.POLICY_VIOLATION)
    seen = observe(start_daemon("--only", "relay", **OBSERVED))
    seen.eventually(lambda now: now['outboxd_messages_failed_total{stage="relay"}'] == 1, "refused")
    # The answer is counted, and then the failure is marked.
    seen.daemon.eventually(lambda: db.message(message)["retry_count"] == 1, "marked")
    assert seen.metrics()['outboxd_kafka_errors_total{error="POLICY_VIOLATION"}'] == 1


def test_messages_that_were_answered_after_the_lease_had_run_out_are_counted_as_fenced(
    start_daemon: StartDaemon, cluster: MockCluster, db: Session
) -> None:
    cluster.go_down()
    message = db.enqueue()
    seen = observe(start_daemon("--only", "relay", lease_seconds=600, **OBSERVED))
    seen.daemon.says("unavailable")
    db.execute("UPDATE outbox_relays SET lease_until = UTC_TIMESTAMP(6) - INTERVAL 1 SECOND")
    claimed = db.claim("another", lease=600)
    cluster.come_up()
    seen.eventually(lambda now: now["outboxd_messages_fenced_total"] == 1, "fenced")
    assert seen.metrics()["outboxd_messages_published_total"] == 1
    assert db.statuses() == {message: "pending"}
    assert db.mark("published", claimed, "another") == 1


def test_mark_that_the_consumer_was_faster_than_is_not_fenced(
    start_daemon: StartDaemon, cluster: MockCluster, db: Session
) -> None:
    cluster.go_down()
    message = db.enqueue()
    seen = observe(start_daemon("--only", "relay", lease_seconds=600, **OBSERVED))
    seen.daemon.says("unavailable")
    db.consume(message)
    cluster.come_up()
    seen.eventually(lambda now: now["outboxd_messages_published_total"] == 1, "acknowledged")
    seen.eventually(
        lambda now: now['outboxd_procedure_duration_seconds_count{procedure="outbox_claim_v1"}'] > 3, "the next rounds"
    )
    assert seen.metrics()["outboxd_messages_fenced_total"] == 0
    assert db.statuses() == {message: "consumed"}


def test_recovered_messages_are_counted(start_daemon: StartDaemon, db: Session) -> None:
    message = db.enqueue_published()
    db.execute("UPDATE agent_outbox_messages SET published_at = published_at - INTERVAL 1 HOUR WHERE id = %s", message)
    seen = observe(start_daemon("--only", "relay", stale_seconds=10, **OBSERVED))
    seen.eventually(lambda now: now["outboxd_messages_recovered_total"] == 1, "recovered")


def test_lag_is_the_one_that_the_status_tells(start_daemon: StartDaemon, db: Session) -> None:
    db.enqueue_in("dead", "dead")
    db.enqueue_published("sent")
    for number in range(3):
        db.enqueue(f"waits {number}")
    db.execute(
        "UPDATE agent_outbox_messages SET created_at = created_at - INTERVAL 300 SECOND WHERE status = 'published';"
        "UPDATE agent_outbox_messages SET created_at = created_at - INTERVAL 200 SECOND,"
        " next_retry_at = next_retry_at - INTERVAL 100 SECOND WHERE status = 'pending'"
    )
    seen = observe(start_daemon("--only", "consumer", **OBSERVED))
    seen.eventually(lambda now: now.get('outboxd_lag_messages{status="pending"}') == 3, "sampled")
    now = seen.metrics()
    for row in db.rows(f"SELECT * FROM outbox_status WHERE biz_type = '{CHAT}'"):
        status, behind = row["status"], float(row["oldest_seconds"])
        if status == "dead":
            assert now["outboxd_dead_letters"] == row["messages"] == 1
        else:
            assert now[f'outboxd_lag_messages{{status="{status}"}}'] == row["messages"]
            assert behind - 5 < now[f'outboxd_lag_seconds{{status="{status}"}}'] <= behind
    assert 100 <= now["outboxd_overdue_seconds"] < 110


def test_address_that_is_taken_ends_the_daemon_with_one_line(outboxd: Run, db: Session) -> None:
    assert db.messages() == []
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        line = the_one_line(outboxd("run", topics="chat", metrics_address=address))
    assert f"metrics_address: {address} cannot be listened on: Address already in use" in line


def test_second_daemon_on_a_host_runs_without_metrics_where_it_was_given_no_address(
    start_daemon: StartDaemon, db: Session
) -> None:
    first, second = start_daemon(), start_daemon()
    for daemon in (first, second):
        daemon.says("started")
    (told,) = [*first.events("no metrics"), *second.events("no metrics")][-1:]
    assert "127.0.0.1:9464 cannot be listened on: Address already in use" in told["reason"]
    assert "metrics_address" in told["reason"]
    message = db.enqueue()
    second.eventually(lambda: db.statuses() == {message: "consumed"}, "consumed")


def test_empty_address_turns_everything_off(start_daemon: StartDaemon) -> None:
    daemon = start_daemon(metrics_address="")
    daemon.says("started")
    (started,) = daemon.events("started")
    assert started["metrics"] is None
    assert "sampler" not in started["workers"]
    assert daemon.events("no metrics") == []


def test_page_that_does_not_exist_is_404_and_names_those_that_do(start_daemon: StartDaemon) -> None:
    seen = observe(start_daemon(**OBSERVED))
    page = get(seen.address, "/")
    assert page.status == 404
    assert "/metrics" in page.text
