"""An incident from beginning to end, with the real daemon and Kafka; its pictures are those of driver/README.md."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.console.conftest import As, enter
from tests.console.people import ADA
from tests.console.process import ConsoleProcess, console
from tests.kit.daemon import StartDaemon
from tests.kit.kafka import create_topics
from tests.kit.names import unused
from tests.kit.server import Server
from tests.kit.session import Session
from tests.kit.waiting import eventually
from tests.servers.kafka import RunningKafka
from tests.servers.paths import CHECKOUT

PICTURES = CHECKOUT / "build" / "console"
_SIZE = {"width": 1040, "height": 560}
_PHONE = {"width": 360, "height": 560}
_ZONE = "Europe/Berlin"
_STEPS = re.compile(r"(?:.*L){3}")  # two rates, each a line, and what joins them
_SHIP = """CREATE PROCEDURE story_ship (p_id BIGINT UNSIGNED, p_payload LONGTEXT CHARACTER SET utf8mb4)
BEGIN
  IF LOCATE('"total": "', p_payload) THEN
    SIGNAL SQLSTATE '22018' SET MESSAGE_TEXT = 'total must be a number';
  ELSEIF LOCATE('"total": -', p_payload) THEN
    SIGNAL SQLSTATE '22003' SET MESSAGE_TEXT = 'Out of range value for column ''total'' at row 1';
  END IF;
END"""


@pytest.fixture
def topic() -> str:
    """The topic of the orders."""
    return unused("orders")[:11]


@pytest.fixture
def at_kafka(
    kafka_broker: RunningKafka,
    topic: str,
    console_process: ConsoleProcess,
    mysql_server: Server,
    installed_database: str,
    tmp_path: Path,
) -> Iterator[ConsoleProcess]:
    """A console with a real Kafka, and the group of the daemon."""
    assert console_process  # which has made the accounts
    create_topics(kafka_broker.bootstrap, [topic], 4)
    url = f"mysql://{mysql_server.host}:{mysql_server.port}/{installed_database}"
    settings = {"mysql_url": url, "kafka_bootstrap": kafka_broker.bootstrap, "group": topic}
    with console(tmp_path, settings) as started:
        yield started


def order(db: Session, topic: str, number: int, total: object, max_retry: int | None = None) -> int:
    """Enqueue an order, of one of seven customers."""
    payload = json.dumps({"order": number, "total": total, "items": [{"sku": "A-7", "count": 2}]})
    return db.enqueue(
        f"customer-{number % 7}", biz_type="order_placed", topic=topic, payload=payload, max_retry=max_retry
    )


def let_traffic_pass(db: Session, topic: str, page: Page) -> None:
    """Enqueue until the page has a curve, and all partitions."""
    deadline, number = time.monotonic() + 120, 0
    curve = page.locator("figure.curve path.consumed")
    while not (curve.count() and _STEPS.match(curve.get_attribute("d") or "")):
        assert time.monotonic() < deadline, page.content()
        for _ in range(20 + number % 40):
            number += 1
            order(db, topic, number if number % 7 != 5 else number + 1, 20)
        page.wait_for_timeout(300)


def picture(page: Page, name: str) -> None:
    """Keep what is seen."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.evaluate("scrollTo(0, 0); document.activeElement.blur()")
    page.screenshot(path=PICTURES / f"{name}.png")


@pytest.mark.kafka
def test_incident_is_seen_and_mended(
    at_kafka: ConsoleProcess,
    kafka_broker: RunningKafka,
    topic: str,
    start_daemon: StartDaemon,
    db: Session,
    as_somebody: As,
) -> None:
    db.execute(f"DROP PROCEDURE IF EXISTS story_ship; {_SHIP}")
    db.register("order_placed", "story_ship")
    daemon = start_daemon(
        kafka_bootstrap=kafka_broker.bootstrap,
        kafka_options={"session.timeout.ms": 6000},
        topics=topic,
        group=topic,
        name="shop-1",
        stop_seconds=10,
    )
    page = as_somebody(at_kafka.address, viewport=_SIZE, timezone_id=_ZONE)
    page.goto("/")
    enter(page, ADA)

    for number in range(7):
        order(db, topic, number, 12.5)
    bad = [order(db, topic, number, "12.50" if number % 3 else -1, max_retry=1) for number in range(14)]
    stuck = order(db, topic, 5, "9.90")
    behind = [order(db, topic, 5, 3) for _ in range(4)]
    let_traffic_pass(db, topic, page)
    daemon.eventually(lambda: {db.statuses()[message] for message in bad} == {"dead"}, "dead")
    row = page.locator("tbody tr", has_text="order_placed").first
    expect(row.locator("[data-l=Dead]")).to_have_text("14")
    expect(page.locator("[data-l='Read by']", has_text="outboxd-shop-1").first).to_be_visible()
    relays = page.locator("tr", has=page.locator("[data-l=Lease]"))
    expect(relays.filter(has_text="shop-1").locator("[data-l=Slots]")).to_have_text("64")
    picture(page, "overview")

    page.goto("/dead")
    expect(page.locator("tr", has_text="total must be a number").first).to_contain_text("9")
    picture(page, "dead")
    page.goto(f"/lane?topic={topic}&key=customer-5")
    expect(page.locator(".picks tbody tr")).to_have_count(1 + len(behind))
    page.goto("/stuck")
    expect(page.locator(".picks tbody tr")).to_have_count(1)
    expect(page.locator("[data-l=Behind]")).to_have_text("4")

    # The handler is mended, and what it failed at is sent again.
    mended = "CREATE PROCEDURE story_ship (p_id BIGINT UNSIGNED, p_payload LONGTEXT CHARACTER SET utf8mb4) BEGIN END"
    db.execute(f"DROP PROCEDURE story_ship; {mended}")
    page.get_by_role("button", name="Retry all").click()
    page.get_by_role("button", name="Retry 1").click()
    daemon.eventually(lambda: {db.statuses()[message] for message in (stuck, *behind)} == {"consumed"}, "retried")
    page.goto("/dead?error=number")
    page.get_by_role("button", name="Requeue all").click()
    page.get_by_role("button", name="Requeue 9").click()
    expect(page.locator("main .note[role=status]")).to_contain_text("9 of 9 requeued")
    daemon.eventually(lambda: list(db.statuses().values()).count("dead") == 5, "requeued")
    eventually(lambda: set(db.statuses().values()) == {"dead", "consumed"})

    dark = as_somebody(
        at_kafka.address,
        viewport=_SIZE,
        timezone_id=_ZONE,
        color_scheme="dark",
        storage_state=page.context.storage_state(),
    )
    dark.set_viewport_size({"width": 1040, "height": 470})
    dark.goto(f"/message/{stuck}")
    expect(dark.locator("dd", has_text="partition")).to_contain_text("offset")
    picture(dark, "message")
    phone = as_somebody(
        at_kafka.address, viewport=_PHONE, timezone_id=_ZONE, storage_state=page.context.storage_state()
    )
    phone.goto(f"/message/{bad[0]}")
    picture(phone, "phone")
    daemon.terminate()
    daemon.wait()
    db.execute("DROP PROCEDURE story_ship")


def test_pictures_of_the_readme_are_there_and_small() -> None:
    readme = (CHECKOUT / "driver" / "README.md").read_text(encoding="utf-8")
    pictures = sorted((CHECKOUT / "driver" / "docs").glob("*.png"))
    assert [path.stem for path in pictures] == ["dead", "message", "overview", "phone"]
    for path in pictures:
        assert f"(docs/{path.name})" in readme
        assert path.stat().st_size < 100_000
