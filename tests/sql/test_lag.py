"""outbox_lag_v1 and outbox_slots_owned_v1: what the daemon samples every few seconds, at a cost that stays small."""

from tests.kit.session import Session, reads, refused


def lag(db: Session, most: int | None = None) -> dict[str, float | None]:
    """The only row."""
    (row,) = db.call("outbox_lag_v1", most)
    return {name: None if value is None else float(value) for name, value in row.items()}


def test_outbox_without_open_messages_has_no_lag(db: Session) -> None:
    db.enqueue_in("consumed")
    nothing = {"pending_seconds": None, "published_seconds": None, "next_due_seconds": None}
    assert lag(db) == {"pending": 0, "published": 0, "dead": 0, "topics_unavailable": 0, **nothing}


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
    assert reads(db, lambda: lag(db, 20)) <= before < 600  # three look-ups in each of the 64 slots


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
