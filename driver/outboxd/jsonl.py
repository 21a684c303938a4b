"""JSON lines of messages: reads and enqueues them as an application would, some hundred messages a transaction."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice
from typing import Any

import mysql.connector

from outboxd.mysql.errors import is_rejection
from outboxd.mysql.packets import divided, most_bytes, too_large
from outboxd.mysql.procedures import ApplicationProcedures

_CHAT_TYPE = "chat_history_persist"
_CHAT = {"user_id": int, "conversation_id": str, "role": str, "message": str}
_MOST_CHARACTERS = {"conversation_id": 255, "role": 32}


@dataclass(frozen=True, slots=True)
class Rejected:
    """A line that was rejected, and why."""

    number: int
    error: str


@dataclass(slots=True)
class Done:
    """What became of the lines of one transaction."""

    last: int
    """The number of its last line."""
    enqueued: int = 0
    known: int = 0
    """Lines that were enqueued before, with the same dedup key."""
    rejected: list[Rejected] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Element:
    """A line as an element of the array that outbox_enqueue_batch_v1 takes."""

    number: int
    text: str
    size: int


def enqueue(
    database: ApplicationProcedures,
    topic: str | None,
    lines: Iterable[bytes],
    *,
    source: str | None = None,
    strict: bool = False,
    per_transaction: int = 511,
) -> Iterator[Done]:
    """Enqueue each line, and yield what became of the lines of each transaction after it has committed.

    A line is UTF-8: a chat message (user_id, conversation_id, role, message; its conversation is the key), or any
    message as outbox_enqueue_batch_v1 takes it, in which topic may be left out where one is given. Other members of a
    chat line are ignored. With a source, each line that has none gets a dedup key of the source, the line's number and
    its text: lines that were enqueued before are passed over. A wrong line is rejected alone; with strict it is the
    last one. Raises Unavailable if MySQL goes away: the transaction under way is then rolled back, unless MySQL went
    away in the middle of its COMMIT.
    """
    most = most_bytes(database)
    numbered = enumerate(lines, 1)
    while chunk := list(islice(numbered, per_transaction)):
        done = Done(chunk[-1][0])
        elements = list(_elements(chunk, topic, source, most, strict, done))
        with database.transaction():
            for call in divided(((element, element.size) for element in elements), most):
                _enqueue(database, call, strict, done)
                if strict and _is_cut(done, call):
                    break
        if strict and done.rejected:
            del done.rejected[1:]
            done.last = done.rejected[0].number
        yield done
        if strict and done.rejected:
            return


def _elements(
    chunk: list[tuple[int, bytes]], topic: str | None, source: str | None, most: int, strict: bool, done: Done
) -> Iterator[_Element]:
    for number, line in chunk:
        if not line.strip():
            continue
        try:
            element = _element(parse(line), topic)
            if source is not None:
                element.setdefault("dedup_key", dedup_key(source, number, line))
            text = json.dumps(element, ensure_ascii=False, separators=(",", ":"))
            size = len(text.encode())
            if reason := too_large(size, most):
                raise ValueError(reason)
        except ValueError as error:
            done.rejected.append(Rejected(number, str(error)))
            if strict:
                return
        else:
            yield _Element(number, text, size)


def _enqueue(database: ApplicationProcedures, elements: list[_Element], strict: bool, done: Done) -> None:
    """Enqueue the elements; where one is wrong, in halves, until it stands alone."""
    try:
        stored = database.enqueue_batch("[" + ",".join(element.text for element in elements) + "]")
        done.enqueued += stored
        done.known += len(elements) - stored
    except mysql.connector.Error as error:
        if not is_rejection(error):
            raise
        if len(elements) == 1:
            done.rejected.append(Rejected(elements[0].number, (error.msg or "").removeprefix("p_messages[0].")))
            done.rejected.sort(key=lambda rejected: rejected.number)
            return
        half = len(elements) // 2
        for part in (elements[:half], elements[half:]):
            _enqueue(database, part, strict, done)
            if strict and _is_cut(done, part):
                return


def _is_cut(done: Done, elements: list[_Element]) -> bool:
    """Whether a line among these, or before them, is wrong."""
    return bool(done.rejected) and done.rejected[0].number <= elements[-1].number


def dedup_key(source: str, number: int, line: bytes) -> str:
    """The dedup key of a line: the same line at the same place of the same source has the same."""
    return f"{source[:160]}:{number}:{sha256(line.strip()).hexdigest()}"


def parse(line: bytes) -> dict[str, Any]:
    """The JSON object of a line; raises ValueError with the reason why it is none."""
    try:
        fields = json.loads(line.decode("utf-8-sig"))
        json.dumps(fields, ensure_ascii=False).encode()
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8: {error.reason} at byte {error.start}") from error
    except UnicodeEncodeError as error:
        raise ValueError("a text has half of a surrogate pair, which is no character") from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(fields, dict):
        raise ValueError("not a JSON object")
    return fields


def check_chat(fields: dict[str, Any]) -> None:
    """Raise ValueError if a member of a chat message is missing, of another type, or out of range."""
    for name, kind in _CHAT.items():
        value = fields.get(name)
        if type(value) is not kind:
            what = "missing" if name not in fields else f"of type {type(value).__name__}"
            raise ValueError(f"{name} must be {'an integer' if kind is int else 'a text'}, it is {what}")
    if not -(2**63) <= fields["user_id"] < 2**63:
        raise ValueError("user_id must be a BIGINT, it is out of range")
    for name, most in _MOST_CHARACTERS.items():
        if not 1 <= len(fields[name]) <= most:
            raise ValueError(f"{name} must have 1 to {most} characters, it has {len(fields[name])}")


def _element(fields: dict[str, Any], topic: str | None) -> dict[str, Any]:
    """The element of a line's object. Its payload is a text, which the outbox keeps byte for byte."""
    if topic is None and "topic" not in fields:
        raise ValueError("topic is missing: give --topic")
    if "payload" in fields:
        payload = fields["payload"]
        return {"topic": topic, **fields, "payload": payload if isinstance(payload, str) else _compact(payload)}
    if fields.get("biz_type", _CHAT_TYPE) != _CHAT_TYPE:
        raise ValueError("payload is missing: a message with a biz_type has one")
    check_chat(fields)
    payload = _compact({name: fields[name] for name in _CHAT})
    return {
        "biz_type": _CHAT_TYPE,
        "topic": topic or fields["topic"],
        "key": fields["conversation_id"],
        "payload": payload,
    }


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
