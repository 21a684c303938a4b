"""The legacy Go service: the tables as GORM makes them, and the statements that GORM sends, word for word."""

import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from confluent_kafka import Consumer, Producer

from tests.kit.session import CHAT, Row, Session

TABLES = """
CREATE TABLE `agent_outbox_messages` (`id` bigint unsigned AUTO_INCREMENT,`biz_type` varchar(64) NOT NULL,`topic` varchar(128) NOT NULL,`message_key` varchar(128) NOT NULL,`payload` longtext NOT NULL,`status` varchar(32) NOT NULL,`retry_count` bigint NOT NULL DEFAULT 0,`max_retry` bigint NOT NULL DEFAULT 20,`next_retry_at` datetime(3) NULL,`last_error` text,`published_at` datetime(3) NULL,`consumed_at` datetime(3) NULL,`created_at` datetime(3) NULL,`updated_at` datetime(3) NULL,PRIMARY KEY (`id`),INDEX `idx_outbox_status_next` (`status`,`next_retry_at`,`biz_type`));
CREATE TABLE `chat_histories` (`id` bigint unsigned AUTO_INCREMENT,`chat_id` varchar(36) NOT NULL,`user_id` bigint NOT NULL,`message_content` text,`role` varchar(32),`created_at` datetime(3) NULL,PRIMARY KEY (`id`),INDEX `idx_chat_histories_chat_id` (`chat_id`))
"""  # noqa: E501
_INSERT = "INSERT INTO `agent_outbox_messages` (`biz_type`,`topic`,`message_key`,`payload`,`status`,`retry_count`,`max_retry`,`next_retry_at`,`last_error`,`published_at`,`consumed_at`,`created_at`,`updated_at`) VALUES (%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s)"  # noqa: E501
_DUE = "SELECT * FROM `agent_outbox_messages` WHERE status = %s AND next_retry_at IS NOT NULL AND next_retry_at <= %s ORDER BY next_retry_at ASC, id ASC LIMIT %s"  # noqa: E501
_PUBLISHED = "UPDATE `agent_outbox_messages` SET `last_error`=%s,`next_retry_at`=%s,`published_at`=%s,`status`=%s,`updated_at`=%s WHERE id = %s AND status NOT IN (%s, %s)"  # noqa: E501
_LOCK = "SELECT * FROM `agent_outbox_messages` WHERE id = %s ORDER BY `agent_outbox_messages`.`id` LIMIT 1 FOR UPDATE"
_FAILED = "UPDATE `agent_outbox_messages` SET `last_error`=%s,`next_retry_at`=%s,`retry_count`=%s,`status`=%s,`updated_at`=%s WHERE id = %s"  # noqa: E501
_DEAD = (
    "UPDATE `agent_outbox_messages` SET `last_error`=%s,`next_retry_at`=%s,`status`=%s,`updated_at`=%s WHERE id = %s"
)
_CHAT = (
    "INSERT INTO `chat_histories` (`chat_id`,`user_id`,`message_content`,`role`,`created_at`) VALUES (%s,%s,%s,%s,%s)"
)
_CONSUMED = "UPDATE `agent_outbox_messages` SET `consumed_at`=%s,`last_error`=%s,`next_retry_at`=%s,`status`=%s,`updated_at`=%s WHERE id = %s"  # noqa: E501


class GoService:
    """One goroutine of the service, on a session of its own; its clock may be local time."""

    def __init__(self, session: Session, offset: timedelta = timedelta()) -> None:
        self.session = session
        self._offset = offset

    def now(self) -> datetime:
        """time.Now(), as the Go driver writes it with the DSN's loc."""
        return datetime.now(UTC).replace(tzinfo=None) + self._offset

    def create(self, key: str, payload: str, topic: str = "chat") -> int:
        """Write a message to the outbox; its due time is taken before GORM takes the time of its creation."""
        due = self.now()
        values = (CHAT, topic, key, payload, "pending", 0, 20, due, None, None, None, self.now(), self.now())
        self.session.execute(_INSERT, *values)
        return int(self.session.value("SELECT LAST_INSERT_ID()"))

    def list_due(self, limit: int = 100) -> list[Row]:
        """What its dispatcher would send."""
        return self.session.rows(_DUE, "pending", self.now(), limit)

    def mark_published(self, message: int) -> None:
        """After Kafka's acknowledgement."""
        now = self.now()
        self.session.execute(_PUBLISHED, None, None, now, "published", now, message, "consumed", "dead")

    def mark_dead(self, message: int, reason: str) -> None:
        """Whatever the state was before: the legacy defect."""
        self.session.execute(_DEAD, reason, None, "dead", self.now(), message)

    def mark_failed(self, message: int, reason: str) -> None:
        """Read, count and write, in a transaction."""
        with self._transaction():
            (row,) = self.session.rows(_LOCK, message)
            if row["status"] in {"consumed", "dead"}:
                return
            count = row["retry_count"] + 1
            dead = count >= row["max_retry"]
            due = None if dead else self.now() + timedelta(seconds=2 ** min(count - 1, 5))
            self.session.execute(_FAILED, reason, due, count, "dead" if dead else "pending", self.now(), message)

    def persist(self, message: int, payload: str) -> None:
        """The effect and the mark, in a transaction."""
        with self._transaction():
            rows = self.session.rows(_LOCK, message)
            if not rows or rows[0]["status"] in {"consumed", "dead"}:
                return
            chat = json.loads(payload)
            values = (chat["conversation_id"], chat["user_id"], chat["message"], chat["role"], self.now())
            self.session.execute(_CHAT, *values)
            self.session.execute(_CONSUMED, self.now(), None, None, "consumed", self.now(), message)

    def dispatch(self, producer: Any) -> int:
        """One round of its dispatcher: send what is due in an envelope of its own, and mark it."""
        due = self.list_due()
        for row in due:
            envelope = {"outbox_id": row["id"], "biz_type": row["biz_type"], "payload": row["payload"]}
            producer.produce(row["topic"], key=row["message_key"], value=json.dumps(envelope))
        producer.flush(10)
        for row in due:
            self.mark_published(row["id"])
        return len(due)

    def consume(self, record: Any) -> bool:
        """Its consumer: takes its own envelopes, and leaves alone what it does not know."""
        envelope = json.loads(record.value())
        if "outbox_id" not in envelope:
            return False
        self.persist(envelope["outbox_id"], envelope["payload"])
        return True

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self.session.execute("START TRANSACTION")
        try:
            yield
        except BaseException:
            self.session.execute("ROLLBACK")
            raise
        self.session.execute("COMMIT")


class Dispatcher(threading.Thread):
    """The old dispatcher, which somebody has left on."""

    def __init__(self, service: GoService, bootstrap: str, stop: threading.Event) -> None:
        super().__init__()
        self.sent = 0
        self._service = service
        self._producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0, "log_level": 0})
        self._stop_event = stop

    def run(self) -> None:
        """Send until told to stop."""
        while not self._stop_event.wait(0.01):
            self.sent += self._service.dispatch(self._producer)


class OldConsumer(threading.Thread):
    """The old consumer, in a group of its own."""

    def __init__(self, service: GoService, bootstrap: str, stop: threading.Event) -> None:
        super().__init__()
        self.taken = self.left = 0
        self._service = service
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": f"old-{uuid.uuid4().hex}",
                "auto.offset.reset": "earliest",
                "session.timeout.ms": 1000,
                "heartbeat.interval.ms": 200,
                "allow.auto.create.topics": True,
                "topic.metadata.refresh.interval.ms": 200,
                "log_level": 0,
            }
        )
        self._stop_event = stop

    def run(self) -> None:
        """Consume until told to stop."""
        self._consumer.subscribe(["chat"])
        try:
            while not self._stop_event.is_set():
                record: Any = self._consumer.poll(0.1)
                if record is None or record.error() is not None:
                    continue
                if self._service.consume(record):
                    self.taken += 1
                else:
                    self.left += 1
        finally:
            self._consumer.close()
