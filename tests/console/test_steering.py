"""What people do: each action, what it asks first, what it says, and whom it is refused to."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.console import letters
from tests.console.conftest import As
from tests.console.people import ADA, MONA, OLGA
from tests.kit.operators import audit, fill
from tests.kit.server import Connect
from tests.kit.session import Session
from tests.kit.waiting import eventually


def heading(page: Page) -> str:
    """Of the page that asks."""
    return page.get_by_role("heading", level=1).inner_text()


def done(page: Page, said: str) -> None:
    """Expect the note of what was done."""
    expect(page.locator("main .note[role=status]")).to_contain_text(said)


def test_selected_dead_letters_are_requeued(as_person: As, db: Session) -> None:
    there = letters.put(db)
    page = as_person(ADA)
    page.goto("/dead")
    for message in there.dead[:2]:
        page.get_by_label(f"Select message {message}").check()
    expect(page.locator(".picked")).to_have_text("2 selected")
    page.get_by_role("button", name="Requeue selected").click()
    assert heading(page) == "Requeue 2 dead letters?"
    page.get_by_role("button", name="Requeue 2").click()
    done(page, "2 of 2 requeued")
    assert [db.statuses()[message] for message in there.dead] == ["pending", "pending", "dead", "dead"]
    rows = db.rows("SELECT account, action FROM outbox_audit_log WHERE action = 'requeue'")
    assert [(row["account"].partition("@")[0], row["action"]) for row in rows] == [("ada", "requeue")] * 2


def test_all_that_match_are_counted_before_they_are_discarded(as_person: As, db: Session) -> None:
    there = letters.put(db)
    page = as_person(ADA)
    page.goto("/dead?error=Duplicate")
    page.get_by_role("button", name="Discard all").click()
    assert heading(page) == "Discard 3 dead letters?"
    expect(page.locator("main")).to_contain_text("There is no way back.")
    expect(page.locator("main")).to_contain_text("error Duplicate")
    page.get_by_role("link", name="Cancel").click()
    expect(page).to_have_url(re.compile(r"/dead\?error=Duplicate$"))
    assert len(db.statuses()) == 9
    page.get_by_role("button", name="Discard all").click()
    page.get_by_role("button", name="Discard 3").click()
    done(page, "3 of 3 discarded")
    expect(page.get_by_label("Error contains")).to_have_value("Duplicate")
    assert set(there.dead) & set(db.statuses()) == {there.dead[3]}


def test_what_dies_behind_the_count_is_left_alone(as_person: As, db: Session) -> None:
    there = letters.put(db)
    page = as_person(ADA)
    page.goto("/ask?action=requeue&all=1")
    assert heading(page) == "Requeue 5 dead letters?"
    db.call("outbox_mark_dead_v1", there.waiting, "later")
    page.get_by_role("button", name="Requeue 5").click()
    done(page, "5 of 5 requeued")
    assert list(db.statuses().values()).count("dead") == 1


def test_requeued_ones_become_due_at_a_rate(as_person: As, db: Session) -> None:
    there = letters.put(db)
    page = as_person(ADA)
    page.goto("/ask?action=requeue&all=1&topic=orders")
    page.get_by_label("Due in a second").fill("2")
    page.get_by_role("button", name="Requeue 4").click()
    done(page, "4 of 4 requeued")
    due = [db.message(message)["next_retry_at"] for message in there.dead]
    assert 0.9 < (max(due) - min(due)).total_seconds() < 2


def test_failing_message_is_retried_now(as_person: As, db: Session) -> None:
    there = letters.put(db)
    page = as_person(ADA)
    page.goto("/stuck")
    page.get_by_role("button", name="Retry all").click()
    assert heading(page) == "Retry 1 failing message?"
    page.get_by_role("button", name="Retry 1").click()
    done(page, "1 of 1 due now")
    assert db.value("SELECT next_retry_at <= UTC_TIMESTAMP(6) FROM agent_outbox_messages WHERE id = %s", there.failing)


def test_message_is_given_up_with_a_reason_and_what_waits_behind_it_goes_on(as_person: As, db: Session) -> None:
    there = letters.put(db)
    page = as_person(ADA)
    page.goto(f"/message/{there.failing}")
    page.get_by_role("button", name="Give up").click()
    page.get_by_label("Reason").fill("customer <i>is gone</i>")
    page.get_by_role("button", name="Give up 1").click()
    done(page, "1 of 1 given up")
    expect(page.locator("h1 .status")).to_have_text("dead")
    assert db.statuses()[there.failing] == "dead"
    assert db.message(there.failing)["last_error"] == "given up (customer <i>is gone</i>): order must be an integer"
    page.goto("/lane?topic=chat&key=lane")
    expect(page.locator(".picks tbody tr")).to_have_count(1)


def test_topic_and_business_type_are_paused_and_resumed(as_person: As, db: Session) -> None:
    db.enqueue()
    page = as_person(ADA)
    page.goto("/types")
    page.get_by_role("link", name=re.compile("Pause business type")).first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Pause business type chat_history_persist?")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("tr", has_text="chat_history_persist").first).to_contain_text("Resume")
    page.get_by_label("Topic").fill("bills <b>")
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("tr", has_text="bills <b>")).to_contain_text("ada@")
    for _ in range(2):
        page.get_by_role("button", name="Resume").first.click()
    expect(page.get_by_role("button", name="Resume")).to_have_count(0)
    assert [row["action"] for row in audit(db)] == ["pause", "pause", "resume", "resume"]


def test_second_of_two_people_is_told_what_the_first_has_done(as_person: As, db: Session) -> None:
    there = letters.put(db)
    ada, olga = as_person(ADA), as_person(OLGA)
    for page in (ada, olga):
        page.goto(f"/message/{there.dead[0]}")
        page.get_by_role("button", name="Requeue" if page is ada else "Discard").click()
    ada.get_by_role("button", name="Requeue 1").click()
    done(ada, "1 of 1 requeued")
    olga.get_by_role("button", name="Discard 1").click()
    done(olga, f"message {there.dead[0]} is not dead any more but pending")
    done(olga, "0 of 1 discarded")
    assert db.statuses()[there.dead[0]] == "pending"
    for page in (ada, olga):
        page.goto(f"/message/{there.dead[1]}")
        page.get_by_role("button", name="Discard").click()
    ada.get_by_role("button", name="Discard 1").click()
    expect(ada.get_by_role("alert")).to_contain_text(f"there is no message {there.dead[1]}")
    olga.get_by_role("button", name="Discard 1").click()
    expect(olga.get_by_role("alert")).to_contain_text(f"there is no message {there.dead[1]}")
    assert [row["action"] for row in audit(db)] == ["requeue", "discard"]


Form = dict[str, str | float | bool]
ACTIONS = ("requeue", "discard", "retry", "give-up")


@pytest.mark.parametrize("action", ACTIONS)
def test_monitoring_may_not_steer_and_is_told_the_role(as_person: As, db: Session, action: str) -> None:
    there = letters.put(db)
    before = db.messages()
    page = as_person(MONA)
    page.goto("/types")
    csrf = page.locator("input[name=csrf]").first.get_attribute("value") or ""
    message = there.dead[0] if action in {"requeue", "discard"} else there.failing
    one: Form = {"csrf": csrf, "action": action, "id": str(message)}
    every: Form = {"csrf": csrf, "action": action, "all": "1", "count": "9"}
    for form in (one, every):
        answer = page.request.post("/act", form=form)
        assert (answer.status, "This needs the role <b>outbox_operator</b>" in answer.text()) == (403, True)
    assert page.request.get(f"/ask?action={action}&all=1").status == 403
    assert db.messages() == before


@pytest.mark.parametrize("action", ["pause", "resume"])
def test_monitoring_may_not_pause_or_resume(as_person: As, db: Session, action: str) -> None:
    page = as_person(MONA)
    page.goto("/types")
    expect(page.get_by_role("button", name=re.compile("Pause|Resume"))).to_have_count(0)
    csrf = page.locator("input[name=csrf]").first.get_attribute("value") or ""
    answer = page.request.post("/pause", form={"csrf": csrf, "action": action, "kind": "topic", "name": "chat"})
    assert (answer.status, "outbox_operator" in answer.text()) == (403, True)
    assert db.value("SELECT COUNT(*) FROM outbox_pauses") == 0


def test_many_are_changed_in_parts_with_progress_and_can_be_stopped(
    as_person: As, db: Session, connect: Connect
) -> None:
    fill(db, 4500, "dead")
    page = as_person(ADA)
    page.goto("/dead")
    page.get_by_role("button", name="Discard all").click()
    assert heading(page).replace("\u202f", "") == "Discard 4500 dead letters?"
    gate = connect()
    gate.execute("LOCK TABLES outbox_audit WRITE")  # so that it is seen at work
    page.get_by_role("button", name="Discard").click()
    expect(page.get_by_role("progressbar")).to_be_visible()
    expect(page.get_by_role("status").last).to_contain_text("0 of")
    page.get_by_role("button", name="Stop").click()
    gate.execute("UNLOCK TABLES")
    expect(page.get_by_role("status").last).to_contain_text("then stopped")
    left = db.value("SELECT COUNT(*) FROM agent_outbox_messages")
    assert left in {2500, 3500}  # the part that was under way is whole, or its transactions are
    page.get_by_role("link", name="Back").click()
    page.get_by_role("button", name="Requeue all").click()
    page.get_by_role("button", name="Requeue").click()
    eventually(lambda: "dead" not in db.statuses().values())
    expect(page.locator("main")).to_contain_text("requeued")


def test_rows_are_marked_by_the_keyboard(as_person: As, db: Session) -> None:
    there = letters.put(db)
    page = as_person(ADA)
    page.goto("/dead")
    first = page.locator(".picks tbody .pick input").first
    first.focus()
    page.keyboard.press("Space")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    expect(page.locator(".picked")).to_have_text("2 selected")
    page.locator(".pick-all").check()
    expect(page.locator(".picked")).to_have_text("5 selected")
    page.get_by_role("button", name="Requeue selected").focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Requeue 5").focus()
    page.keyboard.press("Enter")
    done(page, "5 of 5 requeued")
    assert there.dead
