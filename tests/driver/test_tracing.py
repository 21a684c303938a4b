"""Trace context: a message's traceparent reaches Kafka as it is, and with OpenTelemetry the daemon's spans join it."""

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from outboxd.daemon.agreement import Agreement
from outboxd.daemon.consumer import Consumer
from outboxd.daemon.database import Database
from outboxd.daemon.relay import Relay
from outboxd.messages import Inbox
from outboxd.observe import tracing
from outboxd.observe.health import Health, Pulse
from tests.kit.account import Account
from tests.kit.command import settings
from tests.kit.daemon import QUICK, StartDaemon
from tests.kit.kafka import QUICK_GROUP, read_back
from tests.kit.mock_cluster import MockCluster
from tests.kit.session import CHAT, Session, chat_payload
from tests.kit.waiting import eventually

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"


def enqueue(db: Session, key: str = "k", payload: str | None = None, traceparent: str = TRACEPARENT) -> int:
    """Enqueue a chat message with a traceparent."""
    return db.enqueue_with(CHAT, "chat", key, payload or chat_payload(key), headers={"traceparent": traceparent})


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """Where the spans of this process go."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "_record_span", None)
    tracing.use(provider)
    return exporter


@pytest.fixture
def run_until(account: Account, cluster: MockCluster, db: Session) -> Iterator[Callable[[Callable[[], bool]], None]]:
    """Run a relay and a consumer inside this process until a condition holds."""
    given = settings(
        account.url, kafka_bootstrap=cluster.bootstrap, kafka_options=QUICK_GROUP, topics=["chat"], **QUICK
    )
    own = given.identified(*db.call("outbox_identity_v1")[0].values())

    def run(condition: Callable[[], bool]) -> None:
        stop = threading.Event()
        database = Database(given, ["relay-a"], threading.Event(), is_named=False)
        database.identify(own)
        database.inbox = Inbox(0, frozenset())
        group = Agreement(own, is_fleet=False), Health(stop, 60), stop
        with ThreadPoolExecutor(2) as pool:
            relay = Relay(database, "relay-a", Pulse("relay-0"))
            workers = relay, Consumer(own, [database], *group, Pulse("consumer-0"))
            halves = [pool.submit(worker.run) for worker in workers]
            try:
                eventually(lambda: condition() or any(half.done() for half in halves), 45)
            finally:
                stop.set()
                database.give_up()
            for half in halves:
                half.result()

    yield run
    account.settle(db)


def test_spans_of_publishing_and_consuming_join_the_trace_of_the_message(
    run_until: Callable[[Callable[[], bool]], None], spans: InMemorySpanExporter, db: Session, cluster: MockCluster
) -> None:
    good, bad = enqueue(db), enqueue(db, "bad", '{"role": 7}')
    without = db.enqueue("without")
    final = {good: "consumed", bad: "dead", without: "consumed"}
    run_until(lambda: db.statuses() == final)
    found = {(span.name, (span.attributes or {})["messaging.message.id"]): span for span in spans.get_finished_spans()}
    assert set(found) == {(f"{kind} chat", str(id_)) for kind in ("publish", "consume") for id_ in (good, bad)}
    for span in found.values():
        assert (f"{span.context.trace_id:032x}", parent_of(span)) == (TRACE, PARENT)
        assert (span.start_time or 0) < (span.end_time or 0)
    outcomes = {key: (span.attributes or {})["outboxd.outcome"] for key, span in found.items()}
    assert outcomes == {
        ("publish chat", str(good)): "published",
        ("publish chat", str(bad)): "published",
        ("consume chat", str(good)): "consumed",
        ("consume chat", str(bad)): "dead",
    }
    assert [span.status.is_ok for span in found.values()].count(False) == 1
    assert (found["consume chat", str(bad)].status.description or "").startswith("user_id must be an integer")
    headers = Counter(dict(record.headers).get("traceparent") for record in read_back(cluster.bootstrap, "chat", 3))
    assert headers == {TRACEPARENT.encode(): 2, None: 1}


def parent_of(span: ReadableSpan) -> str | None:
    """The id of a span's parent."""
    return f"{span.parent.span_id:016x}" if span.parent else None


def test_traceparent_that_is_garbage_harms_nothing(
    run_until: Callable[[Callable[[], bool]], None], spans: InMemorySpanExporter, db: Session
) -> None:
    message = enqueue(db, traceparent="00-what-01")
    run_until(lambda: db.statuses() == {message: "consumed"})
    assert {parent_of(span) for span in spans.get_finished_spans()} <= {None}


@pytest.fixture
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """A collector of OTLP over HTTP: its address, and what it has been sent."""
    sent: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quietly."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}", sent
        server.shutdown()


def test_daemon_sends_its_spans_to_the_collector_that_the_environment_names(
    collector: tuple[str, list[bytes]], start_daemon: StartDaemon, db: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, sent = collector
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
    message = enqueue(db)
    daemon = start_daemon()
    daemon.eventually(lambda: db.statuses() == {message: "consumed"}, "consumed")
    assert daemon.stop() == 0
    names = {
        span.name
        for request in map(ExportTraceServiceRequest.FromString, sent)
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
        if span.trace_id.hex() == TRACE
    }
    assert names == {"publish chat", "consume chat"}


def test_absent_collector_is_said_once_and_holds_up_neither_messages_nor_the_stop(
    start_daemon: StartDaemon, db: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
    messages = [enqueue(db, key) for key in "abc"]
    daemon = start_daemon()
    daemon.eventually(lambda: db.statuses() == dict.fromkeys(messages, "consumed"), "consumed")
    daemon.says("library")
    last = enqueue(db, "last")
    daemon.eventually(lambda: db.statuses()[last] == "consumed", "consumed")
    assert daemon.stop(seconds=QUICK["stop_seconds"] + 6) == 0
    said = Counter(event["name"] for event in daemon.events("library"))
    assert all(name.startswith("opentelemetry.") and count <= 2 for name, count in said.items()), said
    assert "Traceback" not in daemon.log


def printed(code: str, **environment: str) -> str:
    """What a fresh interpreter prints."""
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30, check=True
    ).stdout


@pytest.mark.parametrize(
    "environment", [{}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"}]
)
def test_nothing_of_opentelemetry_is_imported_where_nobody_asks_for_traces(environment: dict[str, str]) -> None:
    code = (
        "import sys; from outboxd.observe import tracing\n"
        "with tracing.starting(): print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    assert printed(code, **environment) == "[]\n"


def test_traces_that_are_asked_for_without_the_extra_are_a_warning() -> None:
    code = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from outboxd.commands import main\nfrom outboxd.observe import tracing\n"
        "with tracing.starting(): print('works')"
    )
    warning, works = printed(code, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1").splitlines()
    assert "outboxd[otel] is missing" in warning
    assert works == "works"
