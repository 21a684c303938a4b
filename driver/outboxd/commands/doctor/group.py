"""What `outboxd doctor` examines of the consumer group: who is in it, and whether it gets on."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

from confluent_kafka import KafkaException

from outboxd.commands.doctor.finding import PATIENCE_SECONDS, Finding, error, error_if
from outboxd.fleet import serve_the_same
from outboxd.kafka.group import committed, ends, members
from outboxd.settings import Settings

WATCH_SECONDS = 5
"""For how long a group with records to read must commit nothing to be called stuck; consumers commit each second."""


def findings(kafka: Any, settings: Settings) -> Iterator[Finding]:
    """Whether other installations, or other programs, take partitions of the group, and whether records are read."""
    if not settings.group or "client.id" in settings.kafka_options:
        return
    try:
        there = [member.client_id for member in members(kafka, settings.group, PATIENCE_SECONDS)]
    except KafkaException as wrong:
        yield Finding("consumer group", f"{settings.group}: Kafka does not tell its members: {wrong.args[0].str()}")
        return
    mine = settings.group_token
    others = sorted({member for member in there if not serve_the_same(member.rpartition("-")[2], mine)})
    yield error_if(
        bool(others),
        "consumer group",
        f"{settings.group}: {len(there)} members" + (f", not of this outbox: {', '.join(others)}" if others else ""),
        "each installation needs a group of its own: unset the setting group, or set another one",
    )
    try:
        yield _progress(kafka, settings.group, sorted(set(there)))
    except KafkaException as wrong:
        yield Finding("records to read", f"Kafka does not tell: {wrong.args[0].str()}")


def _progress(kafka: Any, group: str, there: Sequence[str]) -> Finding:
    before = committed(kafka, group, PATIENCE_SECONDS)
    last = ends(kafka, before, PATIENCE_SECONDS)
    behind = sum(max(last[place] - offset, 0) for place, offset in before.items())
    state = f"{behind} in {len(before)} partitions"
    if behind and not there:
        return error("records to read", f"{state}, and nobody is in the group", "start a consumer: outboxd run")
    until = time.monotonic() + WATCH_SECONDS
    while behind and time.monotonic() < until:
        time.sleep(0.5)
        now = committed(kafka, group, PATIENCE_SECONDS)
        if any(now.get(place, 0) > offset for place, offset in before.items()):
            return Finding("records to read", f"{state}, and they are being read")
    return error_if(
        behind > 0,
        "records to read",
        f"{state}; within {WATCH_SECONDS} s nothing was committed" if behind else state,
        f"the consumers ({', '.join(there)}) are stuck: their logs say at what (a handler that hangs, a lock); what"
        " hangs for ever ends with KILL of its session, or a restart of the daemon",
    )
