"""`outboxd subscriptions`, and what a consumer makes of records that MySQL cannot take."""

import json
import re
import threading
from dataclasses import dataclass

from outboxd.daemon.receiver import Receiver
from outboxd.mysql.procedures import ConsumerProcedures
from outboxd.retry import TooLarge
from tests.kit.account import Account
from tests.kit.command import Invoke, settings
from tests.kit.session import Session

SHOP = "/outboxd/shop/%"


def test_subscriptions_are_added_listed_and_removed(invoke: Invoke, db: Session) -> None:
    db.call("outbox_register_biz_type_v1", "ship_order", "outbox_purge_v1", None, None, None, None)
    assert "no subscriptions" in invoke("subscriptions", "list").output
    for said in ("take effect here as ship_order", "took effect here already as ship_order"):
        assert said in invoke("subscriptions", "add", SHOP, "order_placed", "ship_order").output
    (line,) = invoke("subscriptions", "list", "--json").output.splitlines()
    row = json.loads(line)
    assert (row["source"], row["event_type"], row["biz_type"]) == (SHOP, "order_placed", "ship_order")
    assert (row["handler"], row["takes_bytes"]) == ("outbox_purge_v1", False)
    db.call("outbox_register_biz_type_v1", "ship_order", "", None, None, None, None)
    assert "none: dead letters" in invoke("subscriptions", "list").output
    assert invoke("subscriptions", "remove", SHOP, "order_placed").exit_code == 0
    again = invoke("subscriptions", "remove", SHOP, "order_placed")
    assert (again.exit_code, again.output) == (1, f"Error: there is no subscription to {SHOP}, type order_placed\n")


def test_type_that_takes_bytes_is_set_and_told(invoke: Invoke, db: Session) -> None:
    for option, said in (("--bytes", "is set: publish-only"), ("--bytes", "was so already"), ("--no-bytes", "is set")):
        done = invoke("biz-type", "set", "frames", option)
        assert done.exit_code == 0
        assert said in done.output
        assert ("takes bytes" if option == "--bytes" else "does not take bytes") in done.output
    assert db.column("SELECT takes_bytes FROM outbox_biz_types WHERE biz_type = 'frames'") == [0]


def test_status_and_top_tell_what_was_received_from_what_is_its_own(
    invoke: Invoke, db: Session, monitor_url: str
) -> None:
    db.enqueue("own")
    for command in ("status", "top"):
        assert not re.search("received|from", invoke(command).output)
    db.call("outbox_register_biz_type_v1", "ship_order", "outbox_purge_v1", None, None, None, None)
    db.call("outbox_subscribe_v1", "/shop", "%", "ship_order")
    place = {"topic": "orders", "partition": 0, "offset": 7}
    db.call("outbox_receive_v1", json.dumps([{"source": "/shop", "id": "1", "type": "placed", "key": "Ada", **place}]))
    told = json.loads(invoke("status", "--json").output)
    assert (told["messages"], told["received"]) == ({"pending": 1, "published": 1}, {"pending": 0, "published": 1})
    assert re.search(r"status +messages +received .*\n +pending +1 +0 .*\n +published +1 +1 ", invoke("status").output)
    shown = invoke("top", mysql_url=monitor_url).output
    assert re.search(r"topic +from +biz_type", shown)
    assert re.search(r"orders\.outboxd\.\S+ +orders +ship_order +0 ", shown)


@dataclass(frozen=True)
class Event:
    """A record as Kafka's client gives it."""

    number: int
    text: str

    def headers(self) -> list[tuple[str, bytes]]:
        return [("ce_source", b"/shop"), ("ce_id", b"%d" % self.number), ("ce_type", b"placed")]

    def key(self) -> bytes:
        return b"k"

    def value(self) -> bytes:
        return self.text.encode()

    def topic(self) -> str:
        return "orders"

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self.number


def test_records_are_received_in_parts_that_the_server_takes(account: Account, db: Session) -> None:
    """As many as fit into a packet; and where a transaction is too large, halves, until one stands alone."""
    db.call("outbox_register_biz_type_v1", "ship_order", "outbox_purge_v1", None, None, None, None)
    db.call("outbox_subscribe_v1", "/shop", "placed", "ship_order")
    calls: list[list[str]] = []

    class Calls(ConsumerProcedures):
        def receive(self, records):  # type: ignore[no-untyped-def]
            given = [json.loads(record) for record in records]
            calls.append([record["id"] for record in given])
            if any(record["id"] == "3" and record["payload"] for record in given):
                raise TooLarge("1197")
            return super().receive(records)

        def query(self, statement: str, *arguments: object) -> list[object]:
            return [(1024 + 2000,)] if "max_allowed_packet" in statement else super().query(statement, *arguments)

    events = [Event(number, json.dumps("x" * (3000 if number == 1 else 100))) for number in range(6)]
    with Receiver(settings(account.url), threading.Event(), print, lambda: None) as receiver:
        receiver._database = Calls(settings(account.url))
        receiver.start(events)
        assert receiver.records == events
        finished = receiver.finish()
        assert receiver.records == receiver.finish() == []
    assert [record for record, _ in finished] == events
    results = [result for _, result in finished]
    assert [result.outcome for result in results] == ["received", "dead", "received", "dead", "received", "received"]
    assert [result.id for result in results] == sorted(result.id or 0 for result in results)
    assert results[1].error == (
        "its value is left out: too large: 4207 bytes as it is sent, MySQL's max_allowed_packet is 3024,"
        " record orders[0]@1"
    )
    assert results[3].error == "its value is left out: too large for max_binlog_cache_size, record orders[0]@3"
    assert len(calls) > 3
