"""SQLAlchemy, on PyMySQL."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cases
from sqlalchemy import URL, String, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

engine = create_engine(
    URL.create(
        "mysql+pymysql",
        os.environ["SHOP_USER"],
        os.environ["SHOP_PASSWORD"],
        os.environ["SHOP_HOST"],
        int(os.environ["SHOP_PORT"]),
        os.environ["SHOP_DATABASE"],
        {"charset": "utf8mb4"},
    ),
    pool_size=1,
    max_overflow=0,
)


class Base(DeclarativeBase):
    """The shop's models."""


# docs:begin
class Order(Base):
    """An order."""

    __tablename__ = "shop_orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer: Mapped[str] = mapped_column(String(64))


ENQUEUE = text("CALL outbox_enqueue_returning_v1(:biz_type, :topic, :key, :payload, :options)")


def enqueue(session: Session, topic: str, key: str, payload: str, options: dict[str, Any]) -> int:
    """Enqueue in the session's transaction; returns the message's id."""
    values = {"topic": topic, "key": key, "payload": payload, "options": json.dumps(options)}
    return int(session.execute(ENQUEUE, {"biz_type": "shop.order", **values}).scalar_one())


def place_order(customer: str) -> int:
    """Store an order and tell Kafka of it: both, or neither."""
    with Session(engine) as session, session.begin():
        order = Order(customer=customer)
        session.add(order)
        session.flush()
        return enqueue(session, "shop", customer, json.dumps({"order": order.id}), {})


# docs:end


@contextmanager
def begin() -> Iterator[Session]:
    """A transaction on a connection of the pool."""
    with Session(engine) as session, session.begin():
        yield session


def execute(session: Session, statement: str, *values: Any) -> Any:
    """The first row, if there are rows."""
    names = [f"v{number}" for number in range(len(values))]
    found = session.execute(
        text(statement.replace("%s", "{}").format(*(f":{name}" for name in names))),
        dict(zip(names, values, strict=True)),
    )
    return found.first() if found.returns_rows else None


def why(error: Exception) -> tuple[int, str]:
    """MySQL's number and text."""
    assert isinstance(error, DBAPIError)
    assert error.orig is not None
    return error.orig.args[0], error.orig.args[1]


cases.run(begin, execute, enqueue, place_order, why)
