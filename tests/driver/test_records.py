"""The Kafka record of a message, and which records a consumer takes for its own."""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from confluent_kafka import Message as KafkaRecord

from outboxd.kafka.records import headers_of, parse
from outboxd.messages import Arrival, Message, Receipt

SOURCE = "/outboxd/app"
CREATED = datetime(2026, 1, 2, 3, 4, 5, 678)  # noqa: DTZ001 - as the connector returns it, in UTC
MESSAGE = Message(7, "order_placed", "orders", "Ada", b"{}", "application/json", None, CREATED, Receipt(7, CREATED))
CLOUD_EVENT = {
    "ce_specversion": b"1.0",
    "ce_id": b"7",
    "ce_source": SOURCE.encode(),
    "ce_type": b"order_placed",
    "ce_time": b"2026-01-02T03:04:05.000678Z",
    "content-type": b"application/json",
}
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


Headers = Sequence[tuple[str, str | bytes | None]]


def received(headers: Headers | None, value: bytes | None = b"{}", key: bytes | None = b"k") -> Any:
    """A record as the Kafka client hands it out."""
    given = None if headers is None else list(headers)
    return KafkaRecord(topic="orders", partition=3, offset=41, headers=given, value=value, key=key)


def sent(event_id: bytes | None = b"7", source: bytes | None = SOURCE.encode(), time: bytes | None = None) -> Headers:
    return [("ce_id", event_id), ("ce_source", source), *([("ce_time", time)] if time is not None else [])]


def test_headers_are_those_of_cloudevents_in_binary_mode() -> None:
    assert headers_of(MESSAGE, SOURCE) == list(CLOUD_EVENT.items())


def test_time_without_fraction_is_still_a_time_in_utc() -> None:
    whole = replace(MESSAGE, created_at=CREATED.replace(microsecond=0))
    assert dict(headers_of(whole, SOURCE))["ce_time"] == b"2026-01-02T03:04:05Z"


def test_own_headers_pass_through() -> None:
    message = replace(MESSAGE, headers=f'{{"traceparent": "{TRACE}", "ce_subject": "漢字", "empty": ""}}')
    own = [("traceparent", TRACE.encode()), ("ce_subject", "漢字".encode()), ("empty", b"")]
    assert headers_of(message, SOURCE) == [*CLOUD_EVENT.items(), *own]


@pytest.mark.parametrize("name", CLOUD_EVENT)
def test_own_headers_cannot_replace_those_of_cloudevents(name: str) -> None:
    message = replace(MESSAGE, headers=f'{{"{name}": "forged", "traceparent": "{TRACE}"}}')
    assert headers_of(message, SOURCE) == [*CLOUD_EVENT.items(), ("traceparent", TRACE.encode())]


@pytest.mark.parametrize(("content_type", "header"), [("application/avro", [b"application/avro"]), ("", [])])
def test_content_type_is_the_messages_and_a_tombstone_has_none(content_type: str, header: list[bytes]) -> None:
    headers = headers_of(replace(MESSAGE, content_type=content_type), SOURCE)
    assert [value for name, value in headers if name == "content-type"] == header


@pytest.mark.parametrize("value", [b"{}", b"not even JSON", b"\xff", b"", None])
def test_record_says_which_message_it_is_of_whatever_its_value(value: bytes | None) -> None:
    record = received(headers_of(MESSAGE, SOURCE), value, MESSAGE.key.encode())
    assert parse(record, SOURCE) == Arrival(MESSAGE.id, MESSAGE.created_at, "orders", MESSAGE.key, 3, 41)


@pytest.mark.parametrize(
    ("time", "created_at"),
    [
        (b"2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5)),  # noqa: DTZ001
        (b"2026-01-02T03:04:05.000678Z", datetime(2026, 1, 2, 3, 4, 5, 678)),  # noqa: DTZ001
        (b"2026-01-02T05:04:05.1+02:00", datetime(2026, 1, 2, 3, 4, 5, 100_000)),  # noqa: DTZ001
        (None, None),
    ],
)
def test_time_of_a_record_is_taken_in_utc(time: bytes | None, created_at: datetime | None) -> None:
    assert parse(received(sent(time=time)), SOURCE).created_at == created_at


@pytest.mark.parametrize("event_id", [b"0", b"18446744073709551615"])
def test_every_id_that_mysql_can_hold_is_taken(event_id: bytes) -> None:
    assert parse(received(sent(event_id)), SOURCE).id == int(event_id)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (received(None), "ce_source"),
        (received([]), "ce_source"),
        (received([("ce_id", b"7")]), "ce_source"),
        (received(sent(source=b"/outboxd/other")), "/outboxd/other"),
        (received(sent(source=SOURCE.upper().encode())), "ce_source"),
        (received(sent(source=b"\xff\xfe")), "ce_source"),
        (received(sent(source=None)), "ce_source"),
        (received([("ce_source", SOURCE.encode())]), "ce_id"),
        (received(sent(None)), "ce_id"),
        (received(sent(b"")), "ce_id"),
        (received(sent(b"seven")), "ce_id"),
        (received(sent(b"-7")), "ce_id"),
        (received(sent(b"+7")), "ce_id"),
        (received(sent(b"7.0")), "ce_id"),
        (received(sent(b" 7")), "ce_id"),
        (received(sent(b"1_000")), "ce_id"),
        (received(sent(b"\xff")), "ce_id"),
        (received(sent(b"18446744073709551616")), "ce_id"),
        (received(sent("٧".encode())), "ce_id"),
        (received(sent("²".encode())), "ce_id"),
        (received(sent("７".encode() * 10_000)), "ce_id"),
        (received(sent(b"7" * 10_000)), "ce_id"),
        (received(sent(), key=None), "it has no key"),
        (received(sent(), key=b"\xff"), "its key is not UTF-8"),
        (received(sent(), key=b"\xed\xa0\x80"), "its key is not UTF-8"),
        (received(sent(time=b"")), "its ce_time is ''"),
        (received(sent(time=b"yesterday")), "its ce_time is 'yesterday'"),
        (received(sent(time=b"9" * 10_000)), "its ce_time is '999"),
        (received(sent(time=b"0001-01-01T00:00:00+23:59")), "its ce_time is '0001"),
        (received(sent(time=b"\xff")), "its ce_time is"),
    ],
)
def test_foreign_record_is_told_from_an_own_one_with_the_reason(record: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)) as caught:
        parse(record, SOURCE)
    assert len(str(caught.value)) < 200
