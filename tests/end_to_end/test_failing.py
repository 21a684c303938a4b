"""One key whose handler fails, in a running outbox: what an operator sees of it, and how they end it."""

import json

from tests.kit.command import Invoke
from tests.kit.daemon import StartDaemon
from tests.kit.observing import OBSERVED, application, observe
from tests.kit.session import Session

FAILS = "SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 30123, MESSAGE_TEXT = 'no such order'"
EFFECT = "INSERT INTO app_effects (message) VALUES (p_id)"


def test_failing_key_is_seen_retried_and_given_up_while_others_go_on(
    start_daemon: StartDaemon, invoke: Invoke, db: Session, monitor_url: str
) -> None:
    with application(db) as app:
        db.execute(
            "CREATE TABLE app_orders (message_key VARCHAR(20) PRIMARY KEY); INSERT INTO app_orders VALUES ('good')"
        )
        try:
            joined = "agent_outbox_messages AS m JOIN app_orders USING (message_key)"
            known = f"EXISTS (SELECT 1 FROM {joined} WHERE m.id = p_id)"
            app.business(
                "order",
                f"IF NOT {known} THEN {FAILS}; END IF; {EFFECT}",
                backoff_base_seconds=600,
                backoff_cap_seconds=600,
            )
            bad, *behind = (db.enqueue("bad", biz_type="order", payload="{}") for _ in range(3))
            worse, last = (db.enqueue("worse", biz_type="order", payload="{}") for _ in range(2))
            good = [db.enqueue("good", biz_type="order", payload="{}") for _ in range(3)]
            seen = observe(start_daemon(topics="chat", **OBSERVED))
            seen.daemon.eventually(
                lambda: app.effects() == good and db.out("outbox_count_v1", "failing", *[None] * 7) == 2,
                "the good ones done",
            )

            # It shows.
            rows = [json.loads(line) for line in invoke("failing", "--json").stdout.splitlines()]
            assert [(row["id"], row["retry_count"], row["last_error"], row["followers"]) for row in rows] == [
                (bad, 1, "no such order", 2),
                (worse, 1, "no such order", 1),
            ]
            assert "failing: 2 of the pending" in invoke("status").stdout
            assert "failing: 2 wait for a retry" in invoke("top", mysql_url=monitor_url).stdout
            key = invoke("key", "chat", "bad").stdout
            assert f"message {bad} has failed 1 times, is tried again at " in key
            assert "2 are behind it" in key
            assert "failure 1, " in invoke("show", str(bad)).stdout
            seen.eventually(lambda now: now["outboxd_failing_messages"] == 2, "sampled")
            assert seen.metrics()["outboxd_failing_seconds"] > 0

            # A retry does not wait for 10 minutes: it fails again, as the order is still missing, and then succeeds.
            assert invoke("retry", str(bad)).stdout == "1 pending message due now\n"
            seen.daemon.eventually(lambda: db.message(bad)["retry_count"] == 2, "it has failed again")
            db.execute("INSERT INTO app_orders VALUES ('bad')")
            assert invoke("retry", "--key", "bad").stdout == "1 failing message due now\n"
            seen.daemon.eventually(lambda: app.effects() == [*good, bad, *behind], "the key goes on, in order")
            assert len(db.call("outbox_list_failures_v1", bad)) == 2

            # What can never succeed is given up, and what is behind it has its own turn at once.
            assert invoke("give-up", "--key", "worse", "--reason", "cancelled").stdout == "1 failing message given up\n"
            assert db.message(worse)["last_error"] == "given up (cancelled): no such order"
            seen.daemon.eventually(lambda: db.message(last)["retry_count"] == 1, "the next of the key is tried")
            assert f"message {last} has failed 1 times" in invoke("key", "chat", "worse").stdout
            actions = db.column("SELECT action FROM outbox_audit ORDER BY id")
            assert actions == ["retry", "retry_failing", "give_up_failing"]
        finally:
            db.execute("DROP TABLE app_orders")
