"""The server's clock is set back by an hour: SET TIMESTAMP does that to what one session sees of it."""

from tests.kit.session import Session, chat_payload

HOUR = 3600


def set_back(db: Session, seconds: int = HOUR) -> None:
    """Let this session's clock stand still, an hour ago."""
    db.execute("SET TIMESTAMP = UNIX_TIMESTAMP(NOW(6)) - %s", seconds)


def test_lease_of_a_relay_that_died_before_the_clock_was_set_back_is_over(db: Session) -> None:
    db.claim("dead", lease=10)
    set_back(db)
    db.claim("alive", lease=10)
    assert len(db.owned("alive")) == 64


def test_relay_goes_on_with_a_lease_by_the_new_clock(db: Session) -> None:
    message = db.enqueue()
    db.claim("relay-a", lease=10)
    set_back(db)
    assert db.mark("published", db.claim("relay-a", lease=10)) == 1
    assert db.message(message)["status"] == "published"
    assert db.value("SELECT lease_until = UTC_TIMESTAMP(6) + INTERVAL 10 SECOND FROM outbox_relays") == 1


def test_relay_is_fenced_in_the_middle_of_a_batch_and_claims_it_again(db: Session) -> None:
    message = db.enqueue()
    claimed = db.claim("relay-a", lease=10)
    set_back(db)
    db.call("outbox_heartbeat_v1", "relay-a", 10)
    assert db.mark("published", claimed) == 0
    assert db.claim_ids("relay-a") == [message]


def test_small_correction_of_the_clock_ends_no_lease(db: Session) -> None:
    db.enqueue()
    claimed = db.claim("relay-a", lease=10)
    set_back(db, 2)
    assert db.claim_ids("relay-b") == []
    assert db.mark("published", claimed) == 1


def test_message_that_fails_after_the_clock_was_set_back_waits_for_its_retry(db: Session) -> None:
    message = db.enqueue_published()
    set_back(db)
    db.call("outbox_mark_failed_v1", message, "no luck")
    assert db.claim_ids() == []


def test_message_that_waited_for_its_retry_is_sent_at_once_and_before_its_followers(db: Session) -> None:
    failed, taken_back = db.enqueue_published("k"), db.enqueue_published("k")
    db.call("outbox_mark_failed_v1", failed, "no luck")
    later = db.enqueue("k")
    assert db.consume(taken_back) == {taken_back: "deferred"}
    assert db.claim_ids() == []
    set_back(db)
    assert db.claim_ids() == [failed, taken_back, later]


def test_message_that_waited_for_its_retry_behind_many_delayed_ones_is_sent_at_once(db: Session) -> None:
    message = db.enqueue_published("k")
    db.execute(
        "INSERT INTO agent_outbox_messages"
        " (biz_type, topic, message_key, payload, next_retry_at, created_at, updated_at)"
        " WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 90)"
        " SELECT 'delayed', 'chat', 'k', '1', now + INTERVAL 1 MINUTE, now - INTERVAL 1 HOUR, now - INTERVAL 1 HOUR"
        " FROM n CROSS JOIN (SELECT UTC_TIMESTAMP(6) AS now) AS clock"
    )
    db.call("outbox_mark_failed_v1", message, "no luck")
    set_back(db)
    assert db.claim_ids() == [message]


def test_message_that_is_deferred_behind_one_from_before_is_sent_with_it(db: Session) -> None:
    earlier, later = db.enqueue_published("k"), db.enqueue_published("k")
    db.call("outbox_mark_failed_v1", earlier, "no luck")
    set_back(db)
    assert db.consume(later) == {later: "deferred"}
    assert db.claim_ids() == [earlier, later]


def test_message_that_is_to_be_sent_later_keeps_its_time(db: Session) -> None:
    db.enqueue_with("chat_history_persist", "chat", "k", chat_payload(), delay_seconds=60)
    set_back(db)
    assert db.claim_ids() == []


def test_published_message_that_nobody_consumes_is_recovered(db: Session) -> None:
    db.enqueue_published()
    set_back(db)
    assert db.out("outbox_recover_published_v1", 900, 10) == 1
