"""aiomysql."""

import asyncio
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import aiomysql
import cases

loop = asyncio.new_event_loop()
pool: Any = loop.run_until_complete(
    aiomysql.create_pool(
        host=os.environ["SHOP_HOST"],
        port=int(os.environ["SHOP_PORT"]),
        user=os.environ["SHOP_USER"],
        password=os.environ["SHOP_PASSWORD"],
        db=os.environ["SHOP_DATABASE"],
        charset="utf8mb4",
        minsize=1,
        maxsize=1,
    )
)


# docs:begin
async def enqueue(cursor: Any, topic: str, key: str, payload: str, options: dict[str, Any]) -> int:
    """Enqueue in the cursor's transaction; returns the message's id."""
    await cursor.execute(
        "CALL outbox_enqueue_returning_v1(%s, %s, %s, %s, %s)",
        ("shop.order", topic, key, payload, json.dumps(options)),
    )
    (id_,) = await cursor.fetchone()
    while await cursor.nextset():  # the CALL's own result
        pass
    return int(id_)


async def place_order(customer: str) -> int:
    """Store an order and tell Kafka of it: both, or neither."""
    async with pool.acquire() as connection, connection.cursor() as cursor:
        await connection.begin()
        await cursor.execute("INSERT INTO shop_orders (customer) VALUES (%s)", (customer,))
        message = await enqueue(cursor, "shop", customer, json.dumps({"order": cursor.lastrowid}), {})
        await connection.commit()
        return message


# docs:end


@contextmanager
def begin() -> Iterator[Any]:
    """A transaction on a connection of the pool."""
    connection, cursor = loop.run_until_complete(_acquire())
    try:
        loop.run_until_complete(connection.begin())
        yield cursor
        loop.run_until_complete(connection.commit())
    except BaseException:
        loop.run_until_complete(connection.rollback())
        raise
    finally:
        loop.run_until_complete(cursor.close())
        pool.release(connection)


async def _acquire() -> tuple[Any, Any]:
    connection = await pool.acquire()
    return connection, await connection.cursor()


async def _execute(cursor: Any, statement: str, values: tuple[Any, ...]) -> Any:
    await cursor.execute(statement, values)
    row = await cursor.fetchone() if cursor.description else None
    while await cursor.nextset():
        pass
    return row


def why(error: Any) -> tuple[int, str]:
    """MySQL's number and text."""
    return error.args[0], error.args[1]


cases.run(
    begin,
    lambda cursor, statement, *values: loop.run_until_complete(_execute(cursor, statement, values)),
    lambda cursor, *message: loop.run_until_complete(enqueue(cursor, *message)),
    lambda customer: loop.run_until_complete(place_order(customer)),
    why,
)
