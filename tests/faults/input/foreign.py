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
_NOT_UTF8 = b'{"user_id":7,\xff\xfe\x00'
_MOST_LOGGED = 500
# A few kilobytes in the topic, where records are compressed, and seven times as many bytes in a statement of SQL.
_TOO_LARGE = b"\x01" * (10 << 20)


@dataclass(frozen=True, slots=True)
class Foreign:
    """A record that the consumer must leave out, with a log line that contains this."""

    name: str
    headers: Mapping[str, str | bytes | None]
    value: bytes | None
    says: str


@dataclass(frozen=True, slots=True)
class Impostor:
    """A record that names a message of this outbox, which it is not; and what has to become of that message."""

    name: str
    before: str
    value: bytes
    status: str
    says: str | None = None
    retries: int = 0


def _foreign_records(source: str, victim: int) -> list[Foreign]:
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
        Foreign("no value", own | id_, None, "it has no value"),
        Foreign("a value that is not UTF-8", own | id_, _NOT_UTF8, "not UTF-8: invalid start byte at byte 13"),
    ]


_UNKNOWN = {"id 0": "0", "id 2^63": str(2**63), "id 2^64-1": str(2**64 - 1), "an id that nobody has": "987654321"}

_IMPOSTORS = [
    Impostor("another payload of a consumed message", "consumed", _CHAT, "consumed"),
    Impostor("garbage of a consumed message", "consumed", b"garbage", "consumed"),
    Impostor("another payload of a dead message", "dead", _CHAT, "dead", "as arranged"),
    Impostor("an empty value of a published message", "published", b"", "consumed", "is not valid JSON", 1),
    Impostor("garbage of a published message", "published", b"garbage", "consumed", "is not valid JSON", 1),
    Impostor("too deep a value of a published message", "published", b"[" * 5000, "consumed", "the maximum depth", 1),
    Impostor("a payload of another type", "published", b'{"order":1}', "consumed", "user_id must be an integer", 1),
    Impostor("a value too large for MySQL", "published", _TOO_LARGE, "consumed", "max_allowed_packet", 1),
]
_FORGED = "chat of a published message in other words"


def foreign_records(stage: Stage) -> Report:
    """Put foreign records into the topic of a consumer, whose own messages come by another one until they are done.

    The one that has the looks of a published message and is chat takes effect in its place: the outbox does not compare
    what comes back with what it sent. Whoever may write to the topic is trusted, as the procedures' caller is.
    """
    with stage.scene(topics=2, partitions=1) as scene:
        strange, own = scene.topics
        source = f"/outboxd/{scene.database}"
        scene.start("relay", "relay")
        reader = scene.start("consumer", "consumer", topics=strange)
        good = Writer(own)
        victims = {case.name: _victim(scene, good, case) for case in _IMPOSTORS}
        (forged,) = good.enqueue(scene.session, _FORGED)
        scene.wait_until(lambda: "pending" not in scene.counts(), "the relay has sent all", 90)

        left_out = _foreign_records(source, victims[_IMPOSTORS[0].name].id)
        before, behind = Writer(strange), Writer(strange)
        before.enqueue(scene.session, "before")
        records = [(case.headers, case.value) for case in left_out]
        records += [({"ce_source": source, "ce_id": id_}, _CHAT) for id_ in _UNKNOWN.values()]
        records += [({"ce_source": source, "ce_id": str(victims[case.name].id)}, case.value) for case in _IMPOSTORS]
        said = f"{forged.text}, said a stranger"
        words = chat_payload(said, forged.key, forged.role, forged.user_id).encode()
        records.append(({"ce_source": source, "ce_id": str(forged.id)}, words))
        places = _put(scene.bootstrap, strange, records)
        behind.enqueue(scene.session, *[case.name for case in left_out])
        scene.wait_until(
            lambda: all(_is_consumed(scene, entry) for entry in behind.entries), "what is behind is consumed", 60
        )
        # Whatever has failed is sent again, by its own topic.
        scene.start("consumer", "consumer of the others", topics=own, group=f"{scene.database}-others")
        scene.wait_until_final()

        expected = [
            Expected(victims[case.name].id, case.name, case.status, case.says, case.retries) for case in _IMPOSTORS
        ] + [Expected(forged.id, _FORGED, "consumed")]
        dead = {victims[case.name].id for case in _IMPOSTORS if case.status == "dead"}
        effects = [entry for entry in good.entries if entry.id not in dead | {forged.id}]
        effects.append(Entry(forged.id, forged.topic, forged.key, forged.user_id, forged.role, said))
        judgement = outcomes.judge(scene, effects + before.entries + behind.entries, expected)
        reasons = {event["record"]: event["reason"] for event in reader.events("foreign")}
        lines, problems = _left_out(left_out, places, reasons)
        unknown = sum(event.get("unknown", 0) for event in reader.events("consumed"))
        if unknown != len(_UNKNOWN):
            problems.append(f"{unknown} records of ids that nobody has were passed over, of {len(_UNKNOWN)}")
        return Report(
            "foreign records",
            f"{len(left_out)} records that are no message's, {unknown} with an id that nobody has, and"
            f" {len(expected)} with the id of a message that is consumed, dead or published; good chat around them",
            "\n         ".join([judgement.found, *lines]),
            judgement.verdict,
            problems + judgement.problems,
        )


def _victim(scene: Scene, good: Writer, case: Impostor) -> Entry:
    """A message, brought to its state as a relay and a consumer would, or left to the relay."""
    (entry,) = good.enqueue(scene.session, case.name)
    if case.before == "consumed":
        payload = chat_payload(entry.text, entry.key, entry.role, entry.user_id)
        scene.session.call("outbox_persist_chat_history_v1", entry.id, payload)
    elif case.before == "dead":
        scene.session.call("outbox_mark_dead_v1", entry.id, case.says)
    return entry


def _put(
    bootstrap: str, topic: str, records: Sequence[tuple[Mapping[str, str | bytes | None], bytes | None]]
) -> list[str]:
    """Produce records, as anybody could, and return where each is."""
    places: dict[int, str] = {}
    producer = Producer(
        {"bootstrap.servers": bootstrap, "compression.type": "lz4", "message.max.bytes": 64 << 20, "log_level": 0}
    )
    for number, (headers, value) in enumerate(records):
        producer.produce(topic, key="k", value=value, headers=dict(headers), on_delivery=_notes(places, number))
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
