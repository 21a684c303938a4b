"""The cases of the shop for Python's drivers, written once: a program brings its driver's way to do each step."""

import hashlib
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

LARGE = json.dumps({"text": "🎉 \" \\ ' " * 90_000}, ensure_ascii=False)
BATCH = json.dumps(
    [{"biz_type": "shop.order", "topic": "shop", "key": "Cleo", "payload": {"order": number}} for number in range(3)]
)

Session = Any
# A transaction: commits at its end, and rolls back after an error.
Begin = Callable[[], AbstractContextManager[Session]]
# Runs a statement with %s for its values; returns the first row, if it has rows.
Execute = Callable[..., Any]
# Session, topic, key, payload, options: returns the message's id.
Enqueue = Callable[[Session, str, str, str, dict[str, Any]], int]


class Rollback(Exception):
    """Ends a transaction that shall leave nothing behind."""


def report(case: str, **found: object) -> None:
    """Tell the test what a case has given."""
    print(json.dumps({"case": case, **found}), flush=True)


def run(
    begin: Begin,
    execute: Execute,
    enqueue: Enqueue,
    place_order: Callable[[str], int],
    why: Callable[[Exception], tuple[int, str]],
    *,
    checkout: Begin | None = None,
    prepared: Callable[[], list[int]] | None = None,
) -> None:
    """Go through all cases. `why` returns MySQL's number and text of an error; checkout takes from a pool of one."""
    _refused(lambda: place_order(""), why)  # no message without a key
    report("commit", id=place_order("Ada"))

    try:
        with begin() as session:
            execute(session, "INSERT INTO shop_orders (customer) VALUES (%s)", "Bob")
            gone = enqueue(session, "shop", "Bob", '{"order":1}', {})
            raise Rollback
    except Rollback:
        report("rollback", id=gone)

    with begin() as session:
        execute(session, "INSERT INTO shop_orders (customer) VALUES (%s)", "Cleo")
        execute(session, "CALL outbox_enqueue_batch_v1(%s, @enqueued)", BATCH)
        (enqueued,) = execute(session, "SELECT @enqueued")
    report("batch", enqueued=enqueued)

    ids = []
    for _ in range(2):
        with begin() as session:
            ids.append(enqueue(session, "shop", "Dora", '{"order":1}', {"dedup_key": "order 1 of Dora"}))
    report("dedup", ids=ids)

    with begin() as session:
        id_ = enqueue(session, "shop", "Eve", LARGE, {})
    report("large", id=id_, sha256=hashlib.sha256(LARGE.encode()).hexdigest())

    errno, message = _refused(lambda: _without_topic(begin, enqueue), why)
    report("refused", errno=errno, message=message)

    if prepared is None:
        ids = []
        for number in range(3):
            with begin() as session:
                ids.append(enqueue(session, "shop", "Gus", json.dumps({"order": number}), {}))
    else:
        ids = prepared()
    report("prepared", ids=ids)

    checkout = checkout or begin
    ids = []
    with checkout() as session:
        ids.append(enqueue(session, "shop", "Hal", "{}", {}))
    _refused(lambda: _without_topic(checkout, enqueue), why)
    with checkout() as session:
        ids.append(enqueue(session, "shop", "Hal", "{}", {}))
    report("pool", ids=ids)

    with begin() as session:
        execute(session, "INSERT INTO shop_orders (customer) VALUES (%s)", "Ida")
        (order,) = execute(session, "SELECT LAST_INSERT_ID()")
        enqueue(session, "shop", "Ida", "{}", {})
        execute(session, "INSERT INTO shop_lines (order_id) VALUES (LAST_INSERT_ID())")
        (line_order,) = execute(session, "SELECT MAX(order_id) FROM shop_lines")
    report("last_insert_id", order=order, line_order=line_order)


def _without_topic(begin: Begin, enqueue: Enqueue) -> None:
    with begin() as session:
        enqueue(session, "", "Fay", "{}", {})


def _refused(call: Callable[[], object], why: Callable[[Exception], tuple[int, str]]) -> tuple[int, str]:
    """Why outboxd refuses what a call enqueues."""
    try:
        call()
    except Exception as error:  # the driver's own
        return why(error)
    raise AssertionError("it was not refused")
