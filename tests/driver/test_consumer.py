"""How a consumer routes records while the databases are still being asked who they are."""

import threading
from typing import Any

from outboxd.daemon.agreement import Agreement
from outboxd.daemon.consumer import Consumer
from outboxd.daemon.database import Database
from outboxd.messages import Inbox
from outboxd.observe.health import Health, Pulse
from outboxd.settings import Settings
from tests.kit.command import settings


class News:
    """A record of the outbox `near`."""

    def topic(self) -> str:
        return "chat"

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return 0

    def headers(self) -> list[tuple[str, bytes]]:
        return [("ce_source", b"/outboxd/near/1")]

    def value(self) -> bytes:
        return b"{}"

    def key(self) -> bytes:
        return b"k"


def database(name: str, common: Settings) -> Database:
    return Database(common.of_fleet(name, "token"), [], threading.Event(), is_named=True)


def test_record_waits_for_a_database_whose_subscriptions_become_known_behind_the_look(monkeypatch: Any) -> None:
    common = settings(topics=["chat"], group="shop", kafka_bootstrap="127.0.0.1:1")
    near, far = database("near", common), database("far", common)
    stop = threading.Event()
    consumer = Consumer(
        common, [near, far], Agreement(common, is_fleet=True), Health(stop, 60), stop, Pulse("consumer-0")
    )
    handed_over: list[str] = []
    monkeypatch.setattr(consumer, "_hand_over", lambda _, __, owner: handed_over.append(owner.database.name))
    near.identify(near.given.model_copy(update={"source": "/outboxd/near/1"}))
    near.inbox = Inbox(0, frozenset())
    consumer._meet()
    far.identify(far.given.model_copy(update={"source": "/outboxd/far/2"}))
    far.inbox = Inbox(1, frozenset())
    record = News()
    consumer._route(record, frozenset())
    assert handed_over == ["near"]
    consumer._meet()
    (_, receives) = consumer._deliveries
    assert (receives._to_receive, handed_over) == ([record], ["near"])
