"""The daemon's log: JSON for machines, text for people, and never the text of a message."""

import json
import os
import pty
import re
import subprocess
from pathlib import Path

from tests.kit.account import Account
from tests.kit.command import OUTBOXD, environment
from tests.kit.daemon import StartDaemon
from tests.kit.mock_cluster import MockCluster
from tests.kit.session import Session, chat_payload
from tests.kit.waiting import eventually

SECRET = "nobody may read this"


def test_logs_are_json_where_there_is_no_terminal_and_never_hold_message_text(
    start_daemon: StartDaemon, db: Session, cluster: MockCluster
) -> None:
    cluster.create_topic("chat")
    db.enqueue("k", payload=chat_payload(SECRET, conversation="c"))
    db.enqueue("k", payload=json.dumps({"user_id": "x", "conversation_id": "c", "role": "user", "message": SECRET}))
    db.enqueue("k", payload=json.dumps({"message": SECRET}), biz_type="not_registered")
    daemon = start_daemon("--verbose")
    daemon.eventually(lambda: sorted(db.statuses().values()) == ["consumed", "consumed", "dead"], "all final")
    daemon.says("dead")
    assert daemon.stop() == 0
    assert {"started", "round", "consumed", "dead", "stopping", "stopped"} <= {one["event"] for one in daemon.events()}
    assert all({"level", "timestamp"} <= one.keys() for one in daemon.events())
    assert SECRET not in daemon.log


def test_log_that_cannot_be_written_stops_nobody(account: Account, db: Session, cluster: MockCluster) -> None:
    message = db.enqueue(biz_type="publish-only", topic="logs")
    with Path("/dev/full").open("wb") as full:
        daemon = subprocess.Popen(
            [OUTBOXD, "run", "--only", "relay"],
            env=environment({"mysql_url": account.url, "kafka_bootstrap": cluster.bootstrap}),
            stdout=full,
            stderr=full,
        )
    try:
        eventually(lambda: db.statuses() == {message: "consumed"})
        daemon.terminate()
        assert daemon.wait(60) == 0
    finally:
        daemon.kill()


def test_logs_are_for_people_where_there_is_a_terminal(account: Account, db: Session, tmp_path: Path) -> None:
    assert db.messages() == []
    ours, theirs = pty.openpty()
    settings = environment({"mysql_url": account.url, "kafka_bootstrap": "127.0.0.1:1", "topics": "chat"})
    process = subprocess.Popen([OUTBOXD, "run", "--only", "consumer"], stderr=theirs, env=settings, cwd=tmp_path)
    try:
        os.close(theirs)
        shown = b""
        while b"unavailable" not in shown:  # for Kafka, which comes a moment after the start
            shown += os.read(ours, 1000)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert re.search(rb"\d\d:\d\d:\d\d.*started", shown)
    assert b'{"' not in shown
