"""JSON lines of messages: reads and enqueues them as an application would, some hundred messages a transaction."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import mysql.connector

from outboxd.mysql.errors import is_rejection
from outboxd.mysql.procedures import ApplicationProcedures

_ESCAPED = b"\0\n\r\\'\"\x1a"
_STATEMENT_BYTES = 1024  # a call without its texts takes no more
_OPTIONS = ("max_retry", "headers", "delay_seconds", "deliver_at")
_CHAT = {"user_id": int, "conversation_id": str, "role": str, "message": str}


@dataclass(frozen=True, slots=True)
class Line:
    """What became of one line: enqueued, or the reason why it was rejected."""

    number: int
    error: str | None = None


def enqueue(
    database: ApplicationProcedures,
    topic: str,
    lines: Iterable[bytes],
    *,
    strict: bool = False,
    per_transaction: int = 500,
) -> Iterator[list[Line]]:
    """Enqueue each line, and yield the lines of each transaction after it has committed.

    A line is UTF-8: a chat message (user_id, conversation_id, role, message; its conversation is the key), or any
    message: biz_type, key, payload, and any of the options of outbox_enqueue_with_options_v1. Other members of a chat
    line are ignored. A wrong line is rejected alone; with strict it is the last one. Raises Unavailable if MySQL goes
    away: the transaction under way is then rolled back, unless MySQL went away in the middle of its COMMIT.
    """
    most = int(database.query("SELECT @@max_allowed_packet")[0][0])
    numbered = enumerate(lines, 1)
    while chunk := list(islice(numbered, per_transaction)):
        done: list[Line] = []
        with database.transaction():
            for number, line in chunk:
                if not line.strip():
                    continue
                done.append(_enqueue_one(database, topic, number, line, most))
                if strict and done[-1].error:
                    break
        yield done
        if strict and done and done[-1].error:
            return


def _enqueue_one(database: ApplicationProcedures, topic: str, number: int, line: bytes, most: int) -> Line:
    try:
        _call(database, topic, parse(line), most)
        return Line(number)
    except ValueError as error:
        return Line(number, str(error))
    except mysql.connector.Error as error:
        if not is_rejection(error):
            raise
        return Line(number, error.msg)


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
    """Raise ValueError if a member of a chat message is missing, of another type or out of range."""
    for name, kind in _CHAT.items():
        value = fields.get(name)
        if type(value) is not kind:
            what = "missing" if name not in fields else f"of type {type(value).__name__}"
            raise ValueError(f"{name} must be {'an integer' if kind is int else 'a text'}, it is {what}")
    if not -(2**63) <= fields["user_id"] < 2**63:
        raise ValueError("user_id must be a BIGINT, it is out of range")


def _call(database: ApplicationProcedures, topic: str, fields: dict[str, Any], most: int) -> None:
    if "payload" in fields:
        for name in ("biz_type", "key"):
            if not isinstance(fields.get(name), str):
                raise ValueError(f"{name} must be a text, it is {json.dumps(fields.get(name))[:60]}")
        payload = fields["payload"]
        text = payload if isinstance(payload, str) else json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
        options = {name: fields[name] for name in _OPTIONS if name in fields}
        given = json.dumps(options, ensure_ascii=False) if options else None
        _check_size(most, fields["biz_type"], topic, fields["key"], text, given or "")
        database.enqueue_with_options(fields["biz_type"], topic, fields["key"], text, given)
        return
    check_chat(fields)
    chat = fields["conversation_id"]
    _check_size(most, topic, chat, chat, fields["role"], fields["message"])
    database.enqueue_chat_history(topic, chat, fields["user_id"], chat, fields["role"], fields["message"])


def _check_size(most: int, *texts: str) -> None:
    """Raise ValueError if a call with these texts is too large: the server would close the connection."""
    size = _STATEMENT_BYTES + sum(_bytes_sent(text) for text in texts)
    if size > most:
        raise ValueError(f"too large: {size} bytes as it is sent, MySQL's max_allowed_packet is {most}")


def _bytes_sent(text: str) -> int:
    """The size of a text in a statement: a backslash before some bytes, or hexadecimal digits (see Connection)."""
    data = text.encode()
    return 2 * len(data) - (0 if "delimiter" in text.lower() else len(data.translate(None, _ESCAPED)))
