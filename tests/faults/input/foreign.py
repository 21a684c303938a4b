"""Records that others put into the topic, with and without the looks of a message of this outbox."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from confluent_kafka import Producer

from tests.faults.input import outcomes
from tests.faults.input.outcomes import Expected
from tests.faults.report import Report
from tests.faults.stage import FaultError, Scene, Stage
from tests.kit.chat import Writer
from tests.kit.ledger import Entry
from tests.kit.session import chat_payload

_CHAT = chat_payload("a foreign one").encode()
_MOST_LOGGED = 500
# A few kilobytes in the topic, where records are compressed, and seven times as many bytes in a statement of SQL.


@dataclass(frozen=True, slots=True)
class Foreign:
    """A record that the consumer must leave out, with a log line that contains this."""

    name: str
    headers: Mapping[str, str | bytes | None]
    value: bytes | None
    says: str


def _foreign_records(source: str, victim: int, time: str) -> list[Foreign]:
    own, foreign = {"ce_source": source}, {"ce_source": "/outboxd/another"}
    id_ = {"ce_id": str(victim)}
    no_id = ", not the id of a message"
    return [
        Foreign("no headers", {}, _CHAT, "ce_source is ''"),
        Foreign("no value, no headers", {}, None, "ce_source is ''"),
        Foreign("an id only", id_, _CHAT, "ce_source is ''"),
        Foreign("other headers", {"traceparent": "00-1", "": "x"}, _CHAT, "ce_source is ''"),
        Foreign("headers without values", {"ce_id": None, "ce_source": None}, _CHAT, "ce_source is ''"),
        Foreign("source of another outbox", foreign | id_, _CHAT, "ce_source is '/outboxd/another'"),
        Foreign("source that is not UTF-8", {"ce_source": b"\xff", **id_}, _CHAT, "ce_source is '\ufffd'"),
        Foreign("source of 100 kB", {"ce_source": "s" * 100_000, **id_}, _CHAT, "ce_source is 'sss"),
        Foreign("a source only", own, _CHAT, f"ce_id is ''{no_id}"),
        Foreign("an id that is no number", own | {"ce_id": "seven"}, _CHAT, f"ce_id is 'seven'{no_id}"),
        Foreign("a negative id", own | {"ce_id": f"-{victim}"}, _CHAT, f"ce_id is '-{victim}'{no_id}"),
        Foreign("an id in other digits", own | {"ce_id": "\u0661"}, _CHAT, f"ce_id is '\u0661'{no_id}"),
        Foreign("an id with a fraction", own | {"ce_id": f"{victim}.0"}, _CHAT, f"ce_id is '{victim}.0'{no_id}"),
        Foreign("an id of 2^64", own | {"ce_id": str(2**64)}, _CHAT, f"ce_id is '{2**64}'{no_id}"),
        Foreign("an id of 10,000 digits", own | {"ce_id": "9" * 10_000}, _CHAT, no_id),
        Foreign("a time that is none", own | id_ | {"ce_time": "noon"}, _CHAT, "its ce_time is 'noon', not a time"),
        Foreign("no time", own | id_, _CHAT, "its ce_time is not that of message"),
        Foreign("another time", own | id_ | {"ce_time": "2020-01-01T00:00:00Z"}, _CHAT, "its ce_time is not that of"),
        Foreign("the message of another topic", own | id_ | {"ce_time": time}, _CHAT, "is of topic"),
        Foreign("the same, without a value", own | id_ | {"ce_time": time}, None, "is of topic"),
    ]


_UNKNOWN = {"id 0": "0", "id 2^63": str(2**63), "id 2^64-1": str(2**64 - 1), "an id that nobody has": "987654321"}

_FORGED = "a message whose record was forged, with other words"


def foreign_records(stage: Stage) -> Report:
    """Put foreign records into the topic of a consumer, and one that has all the looks of a message but for its value.

    The consumer's own messages come by another topic until they are done. The payload is the outbox's own: so the
    forged one takes effect with what was enqueued.
    """
    with stage.scene(topics=2, partitions=1) as scene:
        strange, own = scene.topics
        source = str(scene.session.call("outbox_identity_v1")[0]["source"])
        scene.start("relay", "relay")
        reader = scene.start("consumer", "consumer", topics=strange)
        good = Writer(own)
        victim, forged = good.enqueue(scene.session, "a victim", _FORGED)
        scene.wait_until(lambda: "pending" not in scene.counts(), "the relay has sent all", 90)

        left_out = _foreign_records(source, victim.id, _time(scene, victim))
        before, behind = Writer(strange), Writer(strange)
        before.enqueue(scene.session, "before")
        records = [(case.headers, case.value) for case in left_out]
        records += [({"ce_source": source, "ce_id": id_}, _CHAT) for id_ in _UNKNOWN.values()]
        places = _put(scene.bootstrap, strange, records)
        headers = {"ce_source": source, "ce_id": str(forged.id), "ce_time": _time(scene, forged)}
        _put(scene.bootstrap, own, [(headers, chat_payload("other words", forged.key).encode())], key=forged.key)
        behind.enqueue(scene.session, *[case.name for case in left_out])
        scene.wait_until(
            lambda: all(_is_consumed(scene, entry) for entry in behind.entries), "what is behind is consumed", 60
        )
        scene.start("consumer", "consumer of the others", topics=own, group=f"{scene.database}-others")
        scene.wait_until_final()

        expected = [Expected(entry.id, entry.text, "consumed") for entry in (victim, forged)]
        judgement = outcomes.judge(scene, good.entries + before.entries + behind.entries, expected)
        reasons = {event["record"]: event["reason"] for event in reader.events("foreign")}
        lines, problems = _left_out(left_out, places, reasons)
        unknown = sum(event.get("unknown", 0) for event in reader.events("consumed"))
        if unknown != len(_UNKNOWN):
            problems.append(f"{unknown} records of ids that nobody has were passed over, of {len(_UNKNOWN)}")
        return Report(
            "foreign records",
            f"{len(left_out)} records that are no message's, {unknown} with an id that nobody has, and one with the"
            " looks of a message and other words; good chat around them",
            "\n         ".join([judgement.found, *lines]),
            judgement.verdict,
            problems + judgement.problems,
        )


def _time(scene: Scene, entry: Entry) -> str:
    """The ce_time of a message."""
    time = scene.session.value("SELECT created_at FROM agent_outbox_messages WHERE id = %s", entry.id)
    return f"{time.isoformat()}Z"


def _put(
    bootstrap: str,
    topic: str,
    records: Sequence[tuple[Mapping[str, str | bytes | None], bytes | None]],
    key: str = "k",
) -> list[str]:
    """Produce records, as anybody could, and return where each is."""
    places: dict[int, str] = {}
    producer = Producer(
        {"bootstrap.servers": bootstrap, "compression.type": "lz4", "message.max.bytes": 64 << 20, "log_level": 0}
    )
    for number, (headers, value) in enumerate(records):
        producer.produce(topic, key=key, value=value, headers=dict(headers), on_delivery=_notes(places, number))
    if producer.flush(30) or len(places) < len(records):
        raise FaultError(f"Kafka took {len(places)} of {len(records)} foreign records")
    return [places[number] for number in range(len(records))]


def _notes(places: dict[int, str], number: int) -> Callable[[object, object], None]:
    def note(error: object, record: object) -> None:
        if error is None:
            places[number] = f"{record.topic()}[{record.partition()}]@{record.offset()}"  # type: ignore[attr-defined]

    return note


def _left_out(
    cases: Sequence[Foreign], places: Sequence[str], reasons: Mapping[str, str]
) -> tuple[list[str], list[str]]:
    lines, problems = [], []
    for case, place in zip(cases, places, strict=False):
        reason = reasons.get(place, "")
        lines.append(f"{case.name}: left out, {reason[:80]}")
        if case.says not in reason or len(reason) > _MOST_LOGGED:
            problems.append(f"{case.name}: {reason[:80]!r}, {len(reason)} characters; expected: {case.says}")
    if len(reasons) != len(cases):
        problems.append(f"{len(reasons)} records were left out, of {len(cases)}")
    return lines, problems


def _is_consumed(scene: Scene, entry: Entry) -> bool:
    return bool(scene.session.value("SELECT status = 'consumed' FROM agent_outbox_messages WHERE id = %s", entry.id))
