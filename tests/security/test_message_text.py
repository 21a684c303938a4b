"""The texts of messages are seen by whoever may read messages, and by nobody who reads logs."""

import json
from collections.abc import Iterator

import pytest

from tests.kit.application import Application
from tests.kit.daemon import Daemon, StartDaemon
from tests.kit.kafka import QUICK_GROUP
from tests.kit.mock_cluster import MockCluster
from tests.kit.observing import OBSERVED, address_of, get
from tests.kit.session import Session, chat_payload

TEXT = "nobody may read this"

# Handlers that fail, and whose errors quote what they were given: their own words, and MySQL's.
_QUOTING = {
    "raises": "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{text}'",
    "refuses": "SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 30007, MESSAGE_TEXT = '{text}'",
    "duplicate": "INSERT INTO app_texts VALUES (JSON_VALUE(p_payload, '$'))",
    "mistyped": "INSERT INTO app_effects (message, payload) VALUES (JSON_VALUE(p_payload, '$'), '')",
}


@pytest.fixture
def app(db: Session) -> Iterator[Application]:
    """An application whose table has the text already, and takes no text twice."""
    application = Application(db)
    db.execute("CREATE TABLE app_texts (text VARCHAR(99) PRIMARY KEY)")
    db.execute("INSERT INTO app_texts VALUES (%s)", TEXT)
    yield application
    db.execute("DROP TABLE app_texts")
    application.remove()


def test_error_of_a_handler_that_quotes_a_message_is_not_in_the_log(
    start_daemon: StartDaemon, db: Session, cluster: MockCluster, app: Application
) -> None:
    cluster.create_topic("chat")
    messages = []
    for biz_type, body in _QUOTING.items():
        app.business(biz_type, body.format(text=TEXT), max_retry=1)
        messages.append(db.enqueue(biz_type, biz_type=biz_type, payload=json.dumps(TEXT)))
    daemon = start_daemon("--verbose", **OBSERVED)
    daemon.eventually(lambda: set(db.statuses().values()) == {"dead"}, "all dead")
    assert all(TEXT in db.message(message)["last_error"] for message in messages)
    daemon.says("dead", count=len(messages))
    assert {event["id"] for event in daemon.events("dead")} == set(messages)
    is_silent(daemon)


def test_text_of_a_message_that_kafka_refuses_is_not_in_the_log(
    start_daemon: StartDaemon, db: Session, cluster: MockCluster
) -> None:
    cluster.create_topic("chat")
    too_large = db.enqueue(payload=chat_payload(TEXT * 1000))
    daemon = start_daemon("--verbose", kafka_options={**QUICK_GROUP, "message.max.bytes": 1000}, **OBSERVED)
    daemon.eventually(lambda: db.statuses()[too_large] == "dead", "dead")
    is_silent(daemon)


def is_silent(daemon: Daemon) -> None:
    """It has not said the text of a message anywhere."""
    pages = "".join(get(address_of(daemon), page).text for page in ("/metrics", "/healthz", "/readyz"))
    assert daemon.stop() == 0
    assert TEXT not in daemon.log
    assert TEXT not in pages
