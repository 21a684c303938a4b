"""Traces, with the extra outboxd[otel]: the daemon's spans join the traceparent that a message was enqueued with.

OpenTelemetry is imported only where the environment asks for traces. Messages without a traceparent have no spans.
"""

import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from confluent_kafka import KafkaError

from outboxd import __version__
from outboxd.messages import Message, Outcome

log = structlog.get_logger()

# https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
_ASKED_FOR_BY = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_STOP_SECONDS = 4
_record_span: Callable[..., None] | None = None


@contextmanager
def starting() -> Iterator[None]:
    """Send spans by OTLP over HTTP while the block runs, where OTEL_EXPORTER_OTLP_(TRACES_)ENDPOINT is set."""
    if os.environ.get("OTEL_TRACES_EXPORTER") == "none" or not any(os.environ.get(name) for name in _ASKED_FOR_BY):
        yield
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError:
        log.warning("no traces", reason="they are asked for by OTEL_EXPORTER_OTLP_..., and outboxd[otel] is missing")
        yield
        return
    named = {SERVICE_NAME: os.environ.get("OTEL_SERVICE_NAME") or "outboxd", SERVICE_VERSION: __version__}
    provider = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    use(provider)
    try:
        yield
    finally:
        # Sends what is left; with an absent collector it would keep trying.
        sending = threading.Thread(target=provider.shutdown, name="last spans", daemon=True)
        sending.start()
        sending.join(_STOP_SECONDS)


def use(provider: Any) -> None:
    """Record all later spans with this TracerProvider."""
    from opentelemetry.trace import SpanKind, Status, StatusCode  # noqa: PLC0415
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    tracer = provider.get_tracer("outboxd", __version__)
    propagator = TraceContextTextMapPropagator()

    def record_span(
        kind: str, topic: str, id_: int, began_ns: int, carrier: dict[str, str], outcome: str, error: str | None
    ) -> None:
        attributes = {
            "messaging.system": "kafka",
            "messaging.operation.name": kind,
            "messaging.destination.name": topic,
            "messaging.message.id": str(id_),
            "outboxd.outcome": outcome,
        }
        span = tracer.start_span(
            f"{kind} {topic}",
            context=propagator.extract(carrier),
            kind=SpanKind.PRODUCER if kind == "publish" else SpanKind.CONSUMER,
            attributes=attributes,
            start_time=began_ns,
        )
        if error is not None:
            span.set_status(Status(StatusCode.ERROR, error))
        span.end()

    global _record_span  # noqa: PLW0603
    _record_span = record_span


def published(message: Message, began_ns: int, error: KafkaError | None) -> None:
    """Record the span of a message that Kafka has answered to; began_ns: when its batch began, in ns since 1970."""
    if _record_span is None or not message.headers:
        return
    carrier = json.loads(message.headers)
    if "traceparent" in carrier:
        outcome, reason = ("published", None) if error is None else (error.name(), error.str())
        _record_span("publish", message.topic, message.id, began_ns, carrier, outcome, reason)


def consumed(records: Iterable[tuple[int, Any]], outcomes: Iterable[Outcome], began_ns: int) -> None:
    """Record the spans of a call that began at began_ns (ns since 1970): records by outbox id, and their outcomes."""
    if _record_span is None:
        return
    by_id = {outcome.id: outcome for outcome in outcomes if not outcome.is_not_reached}
    for id_, record in records:
        headers = dict(record.headers() or [])
        if id_ in by_id and "traceparent" in headers:
            carrier = {
                name: (headers.get(name) or b"").decode(errors="replace") for name in ("traceparent", "tracestate")
            }
            outcome = by_id[id_]
            _record_span("consume", record.topic(), id_, began_ns, carrier, outcome.outcome, outcome.error)
