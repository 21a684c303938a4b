"""mysql-connector-python: its C extension, or with the argument pure, its Python code alone."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cases
import mysql.connector
from mysql.connector.pooling import MySQLConnectionPool

ACCOUNT = {
    "host": os.environ["SHOP_HOST"],
    "port": int(os.environ["SHOP_PORT"]),
    "user": os.environ["SHOP_USER"],
    "password": os.environ["SHOP_PASSWORD"],
    "database": os.environ["SHOP_DATABASE"],
    "use_pure": sys.argv[1:] == ["pure"],
}

connection: Any = mysql.connector.connect(**ACCOUNT)


# docs:begin
def enqueue(cursor: Any, topic: str, key: str, payload: str, options: dict[str, Any]) -> int:
    """Enqueue in the cursor's transaction; returns the message's id."""
    cursor.execute(
        "CALL outbox_enqueue_returning_v1(%s, %s, %s, %s, %s)",
        ("shop.order", topic, key, payload, json.dumps(options)),
    )
    ((id_,),) = cursor.fetchall()
    cursor.nextset()  # the CALL's own result
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
    """A transaction on the one connection."""
    with transaction(connection) as cursor:
        yield cursor


@contextmanager
def transaction(taken: Any) -> Iterator[Any]:
    """A transaction of a connection."""
    try:
        with taken.cursor() as cursor:
            yield cursor
        taken.commit()
    except BaseException:
        taken.rollback()
        raise


def execute(cursor: Any, statement: str, *values: Any) -> Any:
    """The first row, if there are rows."""
    cursor.execute(statement, values)
    rows = cursor.fetchall() if cursor.with_rows else [None]
    while cursor.nextset():
        pass
    return rows[0]


pool = MySQLConnectionPool(pool_size=1, **ACCOUNT)


@contextmanager
def checkout() -> Iterator[Any]:
    """A transaction on a connection of the pool."""
    taken = pool.get_connection()
    try:
        with transaction(taken) as cursor:
            yield cursor
    finally:
        taken.close()


def prepared() -> list[int]:
    """By one statement of the server."""
    ids = []
    with connection.cursor(prepared=True) as cursor:
        for number in range(3):
            order = json.dumps({"order": number})
            cursor.execute(
                "CALL outbox_enqueue_returning_v1(?, ?, ?, ?, ?)", ("shop.order", "shop", "Gus", order, None)
            )
            ((id_,),) = cursor.fetchall()
            ids.append(int(id_))
            cursor.nextset()
    connection.commit()
    return ids


def why(error: Any) -> tuple[int, str]:
    """MySQL's number and text."""
    return error.errno, error.msg


cases.run(begin, execute, enqueue, place_order, why, checkout=checkout, prepared=prepared)
