"""The Kafka record of a message: CloudEvents 1.0 in binary mode, plus the message's own headers.

https://github.com/cloudevents/spec/blob/main/cloudevents/bindings/kafka-protocol-binding.md
"""

import json
from typing import Any

from outboxd.messages import Message

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
    headers.append(("content-type", b"application/json"))
    if message.headers:
        taken = {name for name, _ in headers}
        for name, value in json.loads(message.headers).items():
            sent = name.partition("\0")[0]  # librdkafka ends a name there: ce_id and NUL would be another ce_id
            if sent not in taken:
                taken.add(sent)
                headers.append((sent, value.encode()))
    return headers


def parse(record: Any, source: str) -> tuple[int, str]:
    """The outbox id and payload of a consumed record.

    Raises ValueError with the reason why the record is foreign: another ce_source, a ce_id that is no id of a message,
    no value, or one that is not UTF-8.
    """
    headers = dict(record.headers() or [])
    sent_by = (headers.get("ce_source") or b"").decode(errors="replace")
    if sent_by != source:
        raise ValueError(f"its ce_source is {sent_by[:80]!r}, not {source!r}")
    event_id = (headers.get("ce_id") or b"").decode(errors="replace")
    if not (len(event_id) <= 20 and event_id.isascii() and event_id.isdigit() and int(event_id) < 2**64):
        raise ValueError(f"its ce_id is {event_id[:40]!r}, not the id of a message")
    value = record.value()
    if value is None:
        raise ValueError("it has no value")
    try:
        return int(event_id), value.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"its value is not UTF-8: {error.reason} at byte {error.start}") from error
