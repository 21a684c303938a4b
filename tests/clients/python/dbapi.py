"""PyMySQL, or with the argument MySQLdb, mysqlclient: they are used alike."""

import importlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cases

driver = importlib.import_module(sys.argv[1])
connection = driver.connect(
    host=os.environ["SHOP_HOST"],
    port=int(os.environ["SHOP_PORT"]),
    user=os.environ["SHOP_USER"],
    password=os.environ["SHOP_PASSWORD"],
    database=os.environ["SHOP_DATABASE"],
    charset="utf8mb4",
)


# docs:begin
def enqueue(cursor: Any, topic: str, key: str, payload: str, options: dict[str, Any]) -> int:
    """Enqueue in the cursor's transaction; returns the message's id."""
    cursor.execute(
        "CALL outbox_enqueue_returning_v1(%s, %s, %s, %s, %s)",
        ("shop.order", topic, key, payload, json.dumps(options)),
    )
    (id_,) = cursor.fetchone()
    while cursor.nextset():  # the CALL's own result
        pass
    return int(id_)


def place_order(customer: str) -> int:
    """Store an order and tell Kafka of it: both, or neither."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO shop_orders (customer) VALUES (%s)", (customer,))
            message = enqueue(cursor, "shop", customer, json.dumps({"order": cursor.lastrowid}), {})
        connection.commit()
    except BaseException:
        connection.rollback()  # or the connection's next commit stores the order without its message
        raise
    return message


# docs:end


@contextmanager
def begin() -> Iterator[Any]:
    """A transaction on the one connection; neither driver brings a pool."""
    try:
        with connection.cursor() as cursor:
            yield cursor
        connection.commit()
    except BaseException:
        connection.rollback()
        raise


def execute(cursor: Any, statement: str, *values: Any) -> Any:
    """The first row, if there are rows."""
    cursor.execute(statement, values)
    row = cursor.fetchone() if cursor.description else None
    while cursor.nextset():
        pass
    return row


def why(error: Any) -> tuple[int, str]:
    """MySQL's number and text."""
    return error.args[0], error.args[1]


cases.run(begin, execute, enqueue, place_order, why)
