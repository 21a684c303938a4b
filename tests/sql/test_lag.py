"""outbox_lag_v1 and outbox_slots_owned_v1: what the daemon samples every few seconds, at a cost that stays small."""

from tests.kit.operators import fill
from tests.kit.session import Session, reads, refused


def lag(db: Session, most: int | None = None) -> dict[str, float | None]:
    """The only row."""
    (row,) = db.call("outbox_lag_v1", most)
    return {name: None if value is None else float(value) for name, value in row.items()}


def test_outbox_without_open_messages_has_no_lag(db: Session) -> None:
    db.enqueue_in("consumed")
    seconds = ("pending", "published", "next_due", "failing", "paused")
    counts = ("pending", "published", "dead", "topics_unavailable", "failing", "paused")
    assert lag(db) == dict.fromkeys(counts, 0) | {f"{name}_seconds": None for name in seconds}


def test_lag_agrees_with_the_exact_status(db: Session) -> None:
    for status in ("pending", "published", "consumed", "dead"):
        for number in range(3):
            db.enqueue_in(status, f"{status} {number}", topic=f"topic-{number}")
    db.execute("UPDATE agent_outbox_messages SET created_at = TIMESTAMP'2026-01-01 00:00:00' + INTERVAL id SECOND")
    db.execute("UPDATE agent_outbox_messages SET next_retry_at = created_at WHERE status = 'pending'")
    now = lag(db)
    exact = {row["status"]: row for row in db.call("outbox_status_v1")}
    for status in ("pending", "published", "dead"):
        assert now[status] == exact[status]["messages"] == 3
    for status in ("pending", "published"):
        behind = now[f"{status}_seconds"]
        assert behind is not None
        assert behind <= float(exact[status]["oldest_seconds"]) < behind + 1
    due = now["next_due_seconds"]
    assert due is not None
    assert due - 1 < float(exact["pending"]["next_due_seconds"]) <= due


def test_counting_ends_at_the_limit_and_costs_no_more_whatever_the_backlog(db: Session) -> None:
    def fill(status: str, due: str) -> None:
        db.execute(
            "INSERT INTO agent_outbox_messages (biz_type, topic, message_key, payload, status, next_retry_at)"
            " WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900)"
            f" SELECT 'chat_history_persist', 'chat', i, '1', '{status}', {due} FROM n"
        )

    fill("pending", "UTC_TIMESTAMP(6)")
    fill("published", "NULL")
    fill("dead", "NULL")
    before = reads(db, lambda: lag(db, 20))
    for _ in range(3):
        for status, due in {
            "pending": "UTC_TIMESTAMP(6)",
            "published": "NULL",
            "dead": "NULL",
            "consumed": "NULL",
        }.items():
            fill(status, due)
    now = lag(db, 20)
    assert (now["pending"], now["published"], now["dead"]) == (20, 20, 20)
    assert reads(db, lambda: lag(db, 20)) <= before < 800  # four look-ups in each of the 64 slots


def test_limit_below_zero_is_refused(db: Session) -> None:
    with refused(30005, "p_most must not be negative: -1"):
        db.call("outbox_lag_v1", -1)


def test_slots_owned_are_those_under_a_live_lease(db: Session) -> None:
    assert db.out("outbox_slots_owned_v1", "relay-a") == 0
    db.claim("relay-a")
    assert db.out("outbox_slots_owned_v1", "relay-a") == 64
    db.claim("relay-b")
    db.claim("relay-a")
    db.claim("relay-b")
    assert [db.out("outbox_slots_owned_v1", relay) for relay in ("relay-a", "relay-b")] == [32, 32]
    db.expire_lease("relay-a")
    assert [db.out("outbox_slots_owned_v1", relay) for relay in ("relay-a", "relay-b")] == [0, 32]


def test_failing_messages_and_pauses_are_told_with_their_age(db: Session) -> None:
    for key, times in (("a", 3), ("b", 1)):
        message = db.enqueue(key)
        for _ in range(times):
            db.call("outbox_mark_failed_v1", message, "it fails")
        db.enqueue(key)
    db.execute("UPDATE outbox_failures SET at = at - INTERVAL 100 SECOND WHERE failure = 1 ORDER BY message_id LIMIT 1")
    db.enqueue_with("free", "chat", "later", "{}", delay_seconds=60)
    now = lag(db)
    assert now["failing"] == 2
    assert 100 <= (now["failing_seconds"] or 0) < 160
    for _ in range(2):
        db.call("outbox_pause_v1", "orders", None)
    db.call("outbox_mark_topics_unavailable_v1", '[{"topic": "chat", "reason": "no leader"}]')
    db.execute("UPDATE outbox_pauses SET paused_at = paused_at - INTERVAL 100 SECOND")
    now = lag(db)
    assert now["paused"] == 1
    assert 100 <= (now["paused_seconds"] or 0) < 160
    db.call("outbox_resume_v1", "orders", None)
    assert (lag(db)["paused"], lag(db)["paused_seconds"]) == (0, None)


def test_what_waits_costs_a_sample_no_more_than_its_bound(db: Session) -> None:
    failing = db.enqueue("failing")
    db.call("outbox_mark_failed_v1", failing, "it fails")
    fill(db, 60_000, "pending")
    db.execute(
        "UPDATE agent_outbox_messages SET next_retry_at = UTC_TIMESTAMP(6) + INTERVAL 1 DAY WHERE id <> %s", failing
    )
    assert lag(db)["failing"] == 1
    assert reads(db, lambda: lag(db)) < 2 * 60_000 + 64 * 100 * 3, "the count of pending ones, and 100 of each slot"
