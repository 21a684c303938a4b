"""What the server spends on consuming a message by reference, against a payload that comes with the call.

Both consume with the procedures of this schema. In the second database one of them is changed, so that it takes the
payload from the call: that is how it would be if records were trusted.
"""

import json
from dataclasses import dataclass

import psutil

from tests.bench.measurement import Measurement, Result
from tests.bench.stage import DATABASE, BenchError, Stage
from tests.kit.session import Row, Session

_KEY = "by_reference"
_BY_PAYLOAD = "outboxd_bench_by_payload"
_ROUTINE = "outbox_internal_open_batch_v1"
_CHANGES = {
    "m.message_key, m.payload, given.": "m.message_key, given.payload, given.",
    "kafka_partition INT PATH": "payload LONGTEXT PATH '$.payload', kafka_partition INT PATH",
}
_CALLS_OF = (10, 100, 1000)

Spent = dict[int, tuple[float, float]]
"""Seconds of the server's thread a message, by how many are consumed in a call: by reference, and by payload."""


@dataclass
class _Consumer:
    session: Session
    database: str
    server: psutil.Process
    thread: int

    @classmethod
    def of(cls, stage: Stage, database: str) -> "_Consumer":
        session = stage.connect(database)
        thread = session.value(
            "SELECT thread_os_id FROM performance_schema.threads WHERE processlist_id = CONNECTION_ID()"
        )
        return cls(session, database, psutil.Process(stage.mysql.pid), int(thread))

    def used(self) -> float:
        times = next(thread for thread in self.server.threads() if thread.id == self.thread)
        return float(times.user_time + times.system_time)

    def records(self, stage: Stage, messages: int) -> list[Row]:
        """What Kafka would bring of messages that are published."""
        stage.clear(self.database)
        stage.fill(messages, database=self.database)
        self.session.execute(
            "UPDATE agent_outbox_messages"
            " SET status = 'published', next_retry_at = NULL, published_at = UTC_TIMESTAMP(6)"
        )
        payload = "" if self.database == DATABASE else ", payload"
        return self.session.rows(
            "SELECT id, CAST(created_at AS CHAR) AS created_at, topic, message_key AS `key`, 0 AS `partition`,"
            f" id AS offset{payload} FROM agent_outbox_messages ORDER BY id"
        )

    def consume(self, records: list[Row]) -> None:
        outcomes = {row["outcome"] for row in self.session.call("outbox_consume_v1", json.dumps(records))}
        if outcomes != {"consumed"}:
            raise BenchError(f"{self.database}: messages became {', '.join(sorted(outcomes))}")


def _sample(stage: Stage) -> Spent:
    """The two take turns, a call each."""
    stage.install(_BY_PAYLOAD)
    try:
        _take_payloads_from_the_call(stage)
        ways = [_Consumer.of(stage, DATABASE), _Consumer.of(stage, _BY_PAYLOAD)]
        with ways[0].session, ways[1].session:
            return {size: _measure(stage, ways, size) for size in _CALLS_OF}
    finally:
        stage.drop(_BY_PAYLOAD)


def _measure(stage: Stage, ways: list[_Consumer], size: int) -> tuple[float, float]:
    messages = min(stage.sizes.messages, size * 200)
    records = [way.records(stage, messages) for way in ways]
    before = [way.used() for way in ways]
    for start in range(0, messages, size):
        for way, given in zip(ways, records, strict=True):
            way.consume(given[start : start + size])
    by_reference, by_payload = ((way.used() - used) / messages for way, used in zip(ways, before, strict=True))
    return by_reference, by_payload


def _take_payloads_from_the_call(stage: Stage) -> None:
    with stage.connect(_BY_PAYLOAD) as session:
        body = session.row(f"SHOW CREATE PROCEDURE {_ROUTINE}")["Create Procedure"]
        for ours, theirs in _CHANGES.items():
            if ours not in body:
                raise BenchError(f"{_ROUTINE} reads payloads in another way than this benchmark knows")
            body = body.replace(ours, theirs)
        session.execute(f"DROP PROCEDURE {_ROUTINE}")
        session.execute(body)


def _summarise(samples: list[Spent]) -> Result:
    (spent,) = samples
    ratios = {str(size): round(ours / max(theirs, 1e-9), 3) for size, (ours, theirs) in spent.items()}
    said = ", ".join(
        f"{ours * 1e6:.0f} and {theirs * 1e6:.0f} in calls of {size}" for size, (ours, theirs) in spent.items()
    )
    return Result(
        {_KEY: ratios},
        {_KEY: f"CPU us of the server a message, by reference and by payload: {said}"},
        {_KEY: {str(size): both for size, both in spent.items()}},
    )


MEASUREMENT = Measurement(
    keys=(_KEY,), title="consume by reference against by payload", sample=_sample, summarise=_summarise
)
