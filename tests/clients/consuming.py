"""The stage of a plain consumer: 1,000 messages, of which some fail, a daemon that is killed, and another store."""

import os
import subprocess
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.kit.application import PARAMETERS
from tests.kit.daemon import StartDaemon
from tests.kit.installing import empty_database
from tests.kit.kafka import count_records, create_topic
from tests.kit.server import Server
from tests.kit.session import Session
from tests.kit.waiting import eventually

MESSAGES = 1000
_KEYS = 50
_KILLS = 3
# Effects that a life waits for, beyond the messages that earlier lives have sent: its own daemon is at work by then.
_STEP = 50
_STORE = "outboxd_warehouse"
_TABLES = """
CREATE TABLE inbox (
  source VARCHAR(255) COLLATE utf8mb4_0900_bin, id VARCHAR(255) COLLATE utf8mb4_0900_bin, PRIMARY KEY (source, id));
CREATE TABLE effects (
  number BIGINT AUTO_INCREMENT PRIMARY KEY, message BIGINT UNSIGNED NOT NULL, message_key VARCHAR(255) NOT NULL)
"""
# Half of all calls fail: their records are sent again, behind the others of their key.
_FAILS_AT_TIMES = "IF RAND() < 0.5 THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not now'; END IF"


@contextmanager
def warehouse(server: Server) -> Iterator[Session]:
    """Another database, in which the consumer keeps what it has done."""
    with empty_database(server, _STORE) as session:
        session.execute(_TABLES)
        yield session


@contextmanager
def consumer(
    command: Sequence[str | Path], server: Server, bootstrap: str, topic: str, life: int
) -> Iterator[subprocess.Popen[bytes]]:
    """The plain consumer, as a process that is killed at the end.

    Each life has a group of its own, as if the offsets were lost: it gets everything once more, and at once.
    """
    variables = {
        "BOOTSTRAP": bootstrap,
        "TOPIC": topic,
        "GROUP": f"{topic}-{life}",
        "MYSQL_HOST": server.host,
        "MYSQL_PORT": str(server.port),
        "MYSQL_USER": server.user,
        "MYSQL_DATABASE": _STORE,
    }
    with subprocess.Popen(command, env={**os.environ, **variables}) as process:
        try:
            yield process
        finally:
            process.kill()


def each_record_takes_effect_once(
    command: Sequence[str | Path], server: Server, bootstrap: str, db: Session, start_daemon: StartDaemon
) -> None:
    """The consumer gets each message at least once, and applies it once, in the order of its key."""
    topic = create_topic(bootstrap, 4)
    db.execute(f"CREATE PROCEDURE at_times ({PARAMETERS}) BEGIN {_FAILS_AT_TIMES}; END")
    db.register("at times", "at_times", max_retry=100, backoff_base_seconds=1, backoff_cap_seconds=1)
    try:
        for part in range(0, MESSAGES, 100):
            db.enqueue_batch(
                *(
                    {"biz_type": "at times" if number % 97 == 0 else "publish-only", "key": f"key {number % _KEYS}"}
                    for number in range(part, part + 100)
                ),
                topic=topic,
            )
        sent = {row["id"]: row["message_key"] for row in db.messages()}
        with warehouse(server) as store:
            daemon = start_daemon(
                kafka_bootstrap=bootstrap,
                kafka_options={"session.timeout.ms": 6000},
                topics=topic,
                group=topic,
                batch_size=10,  # many rounds, so that the kills come between them
            )

            def has_done(messages: int) -> bool:
                return bool(store.value("SELECT COUNT(*) FROM effects") >= messages)

            def pending() -> int:
                return list(db.statuses().values()).count("pending")

            left = []
            for life in range(_KILLS):
                wanted = min(MESSAGES, MESSAGES - pending() + _STEP)
                with consumer(command, server, bootstrap, topic, life) as process:
                    eventually(lambda wanted=wanted: has_done(wanted))  # type: ignore[misc]
                    assert process.poll() is None
                    daemon.kill()
                left.append(pending())
                daemon.start()
            # Otherwise the kills would have proved nothing.
            assert sum(messages > _KEYS for messages in left) >= 2, left
            with consumer(command, server, bootstrap, topic, _KILLS):
                eventually(lambda: has_done(MESSAGES), 120)
                daemon.eventually(lambda: set(db.statuses().values()) == {"consumed"}, "all is consumed", 120)
                assert count_records(bootstrap, [topic]) > MESSAGES, "none was sent again"
            effects = store.rows("SELECT message, message_key FROM effects ORDER BY number")
            assert {row["message"]: row["message_key"] for row in effects} == sent
            assert len(effects) == MESSAGES
            lanes = defaultdict(list)
            for row in effects:
                lanes[row["message_key"]].append(row["message"])
            assert all(lane == sorted(lane) for lane in lanes.values())
    finally:
        db.execute("DROP PROCEDURE at_times")
