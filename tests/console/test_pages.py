"""Each page, for each role: what it shows, as a file too, and that users' texts are texts."""

import csv
import io
import json
import re
from urllib.parse import quote, urlencode

import pytest
from playwright.sync_api import Page, expect

from tests.console import letters, people
from tests.console.conftest import As
from tests.console.letters import HOSTILE, ON_THE_PAGE
from tests.console.people import ADA, MONA
from tests.kit.session import CHAT, Session
from tests.kit.waiting import eventually

PAGES = ("/", "/stuck", "/dead", "/search", "/types", "/audit")


def row_of(page: Page, text: str) -> str:
    """The text of the row that has this text."""
    return page.locator("tbody tr", has_text=text).first.inner_text().replace("\n", " ").replace("\t", " ")


def test_overview_shows_what_the_views_count(as_person: As, db: Session) -> None:
    letters.put(db)
    page = as_person(ADA)
    page.goto("/")
    row = page.locator("tbody tr").filter(has_text="orders").first
    expect(row).to_contain_text(CHAT)  # the sample may be one of the test before
    expect(row.locator("[data-l=Dead]")).to_have_text("4")
    expect(page.locator(".tiles")).to_contain_text("failing")
    expect(page.locator(".tiles div", has_text="failing")).to_contain_text("1")
    expect(page.locator("tbody tr", has_text="nobody").first).to_contain_text("64")  # slots
    expect(page.get_by_text(re.compile("handlers"))).not_to_have_count(0)
    assert page.evaluate("window.hurt") is None


def test_stuck_lanes_show_the_head_its_error_and_what_waits_behind(as_person: As, db: Session) -> None:
    there = letters.put(db)
    for person in (ADA, MONA):
        page = as_person(person)
        page.goto("/stuck")
        row = row_of(page, "order must be an integer")
        assert re.match(rf".*{there.failing}.* lane .* 1 .*6 of 20", row), row
        page.goto("/stuck?topic=none")
        expect(page.locator("td.none")).to_have_text("nothing fails that matches")


def test_lane_shows_why_its_messages_wait(as_person: As, db: Session) -> None:
    there = letters.put(db)
    page = as_person(ADA)
    page.goto("/stuck")
    page.get_by_role("link", name="lane", exact=True).click()
    expect(page.locator("tbody tr").nth(0)).to_contain_text("has failed 6 times")
    expect(page.locator("tbody tr").nth(1)).to_contain_text(f"waits for message {there.failing}")


def test_dead_letters_are_grouped_by_error_and_a_group_leads_to_its_letters(as_person: As, db: Session) -> None:
    letters.put(db)
    page = as_person(ADA)
    page.goto("/dead")
    expect(page.get_by_role("heading", level=1)).to_contain_text("5")
    group = page.locator("tr", has_text="Duplicate entry '...' for key '...'")
    group.get_by_role("link", name="3", exact=True).click()
    expect(page.locator(".picks tbody tr")).to_have_count(3)
    page.goto("/dead")
    page.locator("tr", has_text="out of range at row N").get_by_role("link", name="1", exact=True).click()
    expect(page.locator(".picks tbody tr")).to_have_count(1)


def test_monitoring_sees_dead_letters_without_what_their_errors_quote(as_person: As, db: Session) -> None:
    letters.put(db)
    page = as_person(MONA)
    page.goto("/dead")
    expect(page.locator(".picks tbody tr")).to_have_count(5)
    assert "'2'" not in page.content()
    page.locator("tr", has_text="Duplicate entry …").first.get_by_role("link").first.click()
    expect(page.locator(".picks tbody tr")).to_have_count(3)
    expect(page.locator(".pick")).to_have_count(0)
    expect(page.get_by_role("button", name=re.compile("Requeue|Discard"))).to_have_count(0)


def test_message_is_shown_whole(as_person: As, db: Session) -> None:
    db.enqueue("other")
    payload = '{"n":12345678901234567890.10,"n":[],"a":{"b":[1,{}]},"t":"x \\" [,"}'
    message = db.enqueue_with("order_placed", "orders", "Ada", payload, headers={"traceparent": "00-0a"})
    db.call("outbox_mark_failed_v1", message, "first\nsecond line")
    page = as_person(ADA)
    page.goto(f"/message/{message}")
    expect(page.get_by_label("Payload, formatted")).to_have_text(
        '{\n  "n": 12345678901234567890.10,\n  "n": [],\n  "a": {\n    "b": [\n      1,\n      {}\n    ]\n  },\n'
        '  "t": "x \\" [,"\n}'
    )
    page.get_by_text("Raw").click()
    expect(page.get_by_label("Payload, raw")).to_have_text(payload)
    expect(page.locator(".timeline li")).to_have_count(3)  # enqueued, a failure, when it is due
    expect(page.locator("dd", has_text="00-0a")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="as a file").click()
    assert download.value.path().read_text() == payload


def test_bytes_and_a_tombstone_are_shown(as_person: As, db: Session) -> None:
    body, tomb = db.enqueue_bytes(b"\x00<b>PNG\xff" * 5, "image/png"), db.enqueue_bytes(None)
    page = as_person(ADA)
    page.goto(f"/message/{body}")
    expect(page.get_by_label("Payload, formatted")).to_contain_text("00000000  00 3c 62 3e 50 4e 47 ff")
    page.goto(f"/message/{tomb}")
    expect(page.get_by_text("none: a tombstone")).to_be_visible()


def test_monitoring_sees_a_message_that_fails_or_is_dead_without_its_payload(as_person: As, db: Session) -> None:
    there = letters.put(db)
    page = as_person(MONA)
    for message in (there.failing, there.dead[0]):
        page.goto(f"/message/{message}")
        expect(page.locator("main .note")).to_contain_text("outbox_operator")
        assert "user_id" not in page.content()
    page.goto(f"/message/{there.consumed}")
    expect(page.get_by_role("alert")).to_contain_text("This needs the role outbox_operator")


@pytest.mark.parametrize(
    ("field", "value", "found"),
    [
        ("Key", "d-2", ["d-2"]),
        ("Topic", "orders", ["d-3", "d-2", "d-1", "d-0"]),
        ("Business type", "none", []),
        ("Since (UTC)", "2020-01-31 12:00", None),
        ("Until (UTC)", "2020-01-31 12:00", []),
    ],
)
def test_search_finds_by_each_field(
    as_person: As, db: Session, field: str, value: str, found: list[str] | None
) -> None:
    letters.put(db)
    page = as_person(ADA)
    page.goto("/search")
    page.get_by_label(field, exact=True).fill(value)
    page.locator("main").get_by_role("button", name="Search").click()
    expect(page.locator("td.none")).to_have_text(re.compile("these are all|none found"))
    keys = page.locator("[data-l=Key]").all_inner_texts()
    assert len(keys) == 9 if found is None else keys == found


def test_search_finds_by_status_and_ids_and_its_link_can_be_shared(as_person: As, db: Session) -> None:
    there = letters.put(db)
    page = as_person(ADA)
    page.goto("/search")
    page.get_by_label("Status").select_option("dead")
    page.get_by_label("From id").fill(str(there.dead[1]))
    page.get_by_label("To id").fill(str(there.dead[2]))
    page.locator("main").get_by_role("button", name="Search").click()
    expect(page.locator("[data-l=Key]")).to_have_text(["d-2", "d-1"])
    other = as_person(ADA)
    other.goto(page.url)
    expect(other.locator("[data-l=Key]")).to_have_text(["d-2", "d-1"])
    expect(other.get_by_label("Status")).to_have_value("dead")


def test_field_on_each_page_leads_to_the_message_or_to_the_key(as_person: As, db: Session) -> None:
    there = letters.put(db)
    page = as_person(ADA)
    page.goto("/audit")
    page.get_by_label("Message id, or key").fill(f" {there.consumed} ")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text(f"Message {there.consumed}")
    page.get_by_label("Message id, or key").fill("d-3")
    page.keyboard.press("Enter")
    expect(page.locator("[data-l=Key]")).to_have_text(["d-3"])


def test_search_goes_on_where_no_index_finds_it_and_says_how_far_it_has_looked(as_person: As, db: Session) -> None:
    db.enqueue("the first")
    db.execute("ALTER TABLE agent_outbox_messages AUTO_INCREMENT = 900000000")
    for number in range(120):
        db.enqueue(f"later {number}", topic="orders")
    page = as_person(ADA)
    page.goto("/search?key=the+first")
    expect(page.locator("[data-l=Key]")).to_have_text(["the first"])
    page.goto("/search?topic=orders")
    expect(page.locator("[data-l=Key]")).to_have_count(50)
    for count in (50, 20):
        page.get_by_role("link", name="Older ones").click()
        expect(page.locator("[data-l=Key]")).to_have_count(count)
    db.execute("DELETE FROM agent_outbox_messages; ALTER TABLE agent_outbox_messages AUTO_INCREMENT = 1")


def test_types_and_subscriptions_are_listed(as_person: As, db: Session) -> None:
    db.register("shipment", "outbox_internal_write_chat_history_v1")
    db.call("outbox_subscribe_v1", "/shop", HOSTILE[:60], "shipment")
    page = as_person(ADA)
    page.goto("/types")
    expect(page.locator("tr", has_text=CHAT).first).to_contain_text("outbox_internal_write_chat_history_v1")
    expect(page.locator("tr", has_text="/shop")).to_contain_text(ON_THE_PAGE[:40])
    page = as_person(MONA)
    page.goto("/types")
    expect(page.locator("tr", has_text="shipment").first).to_be_visible()
    expect(page.get_by_text("needs the role outbox_operator")).to_be_visible()


def test_audit_is_for_operators(as_person: As, db: Session) -> None:
    letters.put(db)
    db.call("outbox_pause_v1", HOSTILE[:200], None)
    page = as_person(ADA)
    page.goto("/audit")
    expect(page.locator("tr", has_text="pause")).to_contain_text(ON_THE_PAGE)
    page.goto("/audit?action=requeue")
    expect(page.locator("td.none")).to_have_text("nobody has done anything")
    page = as_person(MONA)
    page.goto("/audit")
    expect(page.get_by_role("alert")).to_contain_text("This needs the role outbox_operator")


@pytest.mark.parametrize("person", [ADA, MONA], ids=lambda person: person.role)
def test_texts_of_users_are_texts_on_every_page(as_person: As, db: Session, person: people.Person) -> None:
    there = letters.put(db)
    db.call("outbox_pause_v1", HOSTILE[:200], None)
    for number in range(3):
        db.call("outbox_mark_failed_v1", db.enqueue(HOSTILE, topic="chat"), HOSTILE * number or "first")
    page = as_person(person)
    lane = f"/lane?{urlencode({'topic': 'chat', 'key': HOSTILE})}"
    more = (lane, "/ask?action=requeue&all=1", f"/search?{urlencode({'key': HOSTILE})}") if person is ADA else ()
    filters = f"/dead?{urlencode({'topic': HOSTILE, 'error': HOSTILE, 'key': HOSTILE, 'biz_type': HOSTILE})}"
    for path in (*PAGES, f"/message/{there.hostile}", filters, f"/pause?kind=topic&name={quote(HOSTILE)}", *more):
        page.goto(path)
        assert page.evaluate("window.hurt") is None, path
        assert page.locator("main script, main img, main svg[onload], [onmouseover]").count() == 0, path
        assert "\u202e" not in page.locator("main").inner_text(), path
    page.goto(f"/message/{there.hostile}")
    expect(page.locator("main")).to_contain_text(ON_THE_PAGE)
    expect(page.locator("main")).to_contain_text("{{7*7}}")


@pytest.mark.parametrize(
    ("path", "column", "rows"),
    [
        ("/dead", "id", 5),
        ("/dead?list=groups", "messages", 3),
        ("/stuck", "followers", 1),
        ("/lane?topic=chat&key=lane", "waits", 2),
        ("/search", "status", 9),
        ("/types?list=types", "handler", 1),
        ("/types?list=subscriptions", "source", 0),
        ("/audit", "account", 1),
        ("/?list=streams", "pending", 3),
        ("/?list=relays", "slots_owned", 1),
        ("/?list=partitions", "partition", 0),
        ("/?list=pauses", "paused_by", 1),
        ("/?list=findings", "what", 11),
    ],
)
def test_each_list_is_there_as_csv_and_as_json(as_person: As, db: Session, path: str, column: str, rows: int) -> None:
    letters.put(db)
    db.call("outbox_pause_v1", "bills", None)
    page = as_person(ADA)
    joined = f"{path}{'&' if '?' in path else '?'}format="

    def seen() -> tuple[int, int]:
        answer = page.request.get(f"{joined}json")
        found = answer.json()
        text = page.request.get(f"{joined}csv").text()
        lines = list(csv.DictReader(io.StringIO(text)))
        assert all(column in row for row in (*found, *lines))
        assert "attachment" in answer.headers["content-disposition"]
        assert answer.headers["content-length"] == str(len(answer.body())), "a file that is cut off looks complete"
        return len(found), len(lines)

    eventually(lambda: seen() == (rows, rows), 20, pause=0.5)  # the overview's numbers are renewed every 5 s


def test_spreadsheet_gets_no_formula(as_person: As, db: Session) -> None:
    dead = db.enqueue("=HYPERLINK(1)")
    db.call("outbox_mark_dead_v1", dead, "@SUM(1)")
    page = as_person(ADA)
    (row,) = csv.DictReader(io.StringIO(page.request.get("/dead?format=csv").text()))
    assert (row["message_key"], row["last_error"]) == ("'=HYPERLINK(1)", "'@SUM(1)")
    (told,) = page.request.get("/dead?format=json").json()
    assert (told["message_key"], told["last_error"]) == ("=HYPERLINK(1)", "@SUM(1)")
    assert json.dumps(told["died_at"]).endswith('Z"')


def test_times_are_in_the_readers_zone_with_utc_beside(as_person: As, db: Session) -> None:
    message = db.enqueue()
    db.execute("UPDATE agent_outbox_messages SET created_at = '2026-07-01 23:30:00' WHERE id = %s", message)
    page = as_person(ADA, timezone_id="Asia/Tokyo")
    page.goto(f"/message/{message}")
    expect(page.locator(".timeline time").first).to_have_text("2026-07-02 08:30:002026-07-01 23:30:00 UTC")
    page = as_person(ADA, java_script_enabled=False)
    page.goto(f"/message/{message}")
    expect(page.locator(".timeline time").first).to_have_text("2026-07-01 23:30:00 UTC")


def test_pages_can_be_read_without_scripts(as_person: As, db: Session) -> None:
    there = letters.put(db)
    page = as_person(ADA, java_script_enabled=False)
    for path in (*PAGES, f"/message/{there.hostile}", "/lane?topic=chat&key=lane"):
        page.goto(path)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        expect(page.locator("table.rows").first).to_be_visible()


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/dead?before=yesterday", "before is no time"),
        ("/dead?below=x", "below is no number"),
        ("/message/18446744073709551616", "the id is no number"),
        ("/message/4711", "there is no message 4711"),
        ("/search?status=odd", "status is one of"),
        ("/ask?action=odd", "an action is one of"),
        ("/ask?action=requeue", "nothing is selected"),
        ("/job/none", "no such action"),
        ("/none", "there is no page /none"),
        ("/lane?topic=&key=", "a lane has a topic and a key"),
    ],
)
def test_wrong_address_is_answered_by_what_is_wrong(as_person: As, db: Session, path: str, said: str) -> None:
    assert db.messages() == []
    page = as_person(ADA)
    page.goto(path)
    expect(page.get_by_role("alert")).to_contain_text(said)
