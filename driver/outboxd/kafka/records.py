"""The Kafka record of a message: CloudEvents 1.0 in binary mode, plus the message's own headers.

https://github.com/cloudevents/spec/blob/main/cloudevents/bindings/kafka-protocol-binding.md
"""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from outboxd.messages import Arrival, Foreign, Message

# Values as bytes, because librdkafka's client ends a text at a NUL.
Headers = list[tuple[str, bytes]]


def headers_of(message: Message, source: str) -> Headers:
    """The headers of a message's record. The message's own come last, and cannot replace those of CloudEvents."""
    headers: Headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"%d" % message.id),
        ("ce_source", source.encode()),
        ("ce_type", message.biz_type.encode()),
    ]
    if message.created_at:  # a row of the legacy Go service may have none
        headers.append(("ce_time", f"{message.created_at.isoformat()}Z".encode()))
    if message.content_type:
        headers.append(("content-type", message.content_type.encode()))
    if message.headers:
        taken = {name for name, _ in headers}
        for name, value in json.loads(message.headers).items():
            sent = name.partition("\0")[0]  # librdkafka ends a name there: ce_id and NUL would be another ce_id
            if sent not in taken:
                taken.add(sent)
                headers.append((sent, value.encode()))
    return headers


class ForeignRecord(ValueError):
    """A record that is none of this outbox; `reason` is the label under which it is counted."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


def parse(record: Any, source: str) -> Arrival:
    """Which message a consumed record claims to be of.

    Its value is not read: the payload is the outbox's own. Raises ForeignRecord where ce_source is another, or where
    ce_id, ce_time or the key cannot be those of a message.
    """
    headers = headers_in(record)
    sent_by = source_in(headers)
    if sent_by != source:
        raise ForeignRecord("source", f"its ce_source is {sent_by[:80]!r}, not {source!r}")
    return arrival(record, headers)


def headers_in(record: Any) -> dict[str, bytes]:
    """The headers of a consumed record, of those with the same name the last."""
    return dict(record.headers() or [])


def source_in(headers: Mapping[str, bytes]) -> str:
    """The ce_source, empty where there is none."""
    return _text(headers.get("ce_source"))


def arrival(record: Any, headers: Mapping[str, bytes]) -> Arrival:
    """Which message a record with these headers, and the right ce_source, claims to be of. Raises as `parse`."""
    event_id = _text(headers.get("ce_id"))
    if not (len(event_id) <= 20 and event_id.isascii() and event_id.isdigit() and int(event_id) < 2**64):
        raise ForeignRecord("headers", f"its ce_id is {event_id[:40]!r}, not the id of a message")
    if record.key() is None:
        raise ForeignRecord("headers", "it has no key")
    try:
        key = record.key().decode()
    except UnicodeDecodeError as error:
        raise ForeignRecord("headers", f"its key is not UTF-8: {error.reason} at byte {error.start}") from error
    biz_type = _text(headers.get("ce_type"))[:64]
    time = _time(headers.get("ce_time"))
    return Arrival(int(event_id), time, record.topic(), key, record.partition(), record.offset(), biz_type)


def foreign(record: Any) -> Foreign:
    """A record of others, whole. Without ce_source and ce_id it is known by its topic and by where it is."""
    own: dict[str, str] = {}
    events: dict[str, str] = {}
    for name, value in record.headers() or []:
        (events if name.startswith("ce_") or name == "content-type" else own)[name] = _text(value)
    topic, partition, offset = record.topic(), record.partition(), record.offset()
    source, event_id = events.get("ce_source"), events.get("ce_id")
    if not source or not event_id:
        source, event_id = f"kafka:{topic}", f"{partition}:{offset}"
    key, value = _utf8(record.key()), _utf8(record.value())
    return Foreign(
        source,
        event_id,
        events.get("ce_type"),
        events.get("ce_time"),
        topic,
        partition,
        offset,
        key if key is not None or record.key() is None else _text(record.key()),
        value,
        base64.b64encode(record.value()).decode() if value is None and record.value() is not None else None,
        events.get("content-type"),
        own,
        "its key is not UTF-8" if key is None and record.key() is not None else None,
    )


def _utf8(data: bytes | None) -> str | None:
    """The text; None where there is none."""
    try:
        return None if data is None else data.decode()
    except UnicodeDecodeError:
        return None


def _text(header: bytes | None) -> str:
    return (header or b"").decode(errors="replace")


def _time(header: bytes | None) -> datetime | None:
    if header is None:
        return None
    text = _text(header)
    try:
        return datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError) as error:
        raise ForeignRecord("headers", f"its ce_time is {text[:40]!r}, not a time") from error
