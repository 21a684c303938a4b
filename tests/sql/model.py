"""What the outbox promises, in a few lines of Python: the rules that the state machine test holds the SQL to."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from tests.kit.names import slot_of

SECOND = 1_000_000


@dataclass(slots=True)
class Message:
    """A message; times are microseconds, due is next_retry_at."""

    id: int
    key: str
    text: str
    ordered: bool
    fits: bool
    max_retry: int
    created: int
    due: int | None
    status: str = "pending"
    retries: int = 0
    published: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether it has neither taken effect nor died."""
        return self.status in {"pending", "published"}

    def waits(self, now: int) -> bool:
        """Whether it is held back until a time to come."""
        return self.status == "pending" and self.due is not None and self.due > max(now, self.created)

    def go(self, status: str, due: int | None = None) -> None:
        """Change the state; only pending messages have a time."""
        self.status, self.due = status, due


@dataclass(slots=True)
class Model:
    """All messages by ascending id, and the texts in chat_histories as they were written."""

    messages: dict[int, Message] = field(default_factory=dict)
    chats: list[str] = field(default_factory=list)

    def add(self, message: Message) -> None:
        """A message was enqueued."""
        self.messages[message.id] = message

    def _lane(self, message: Message) -> Iterator[Message]:
        """The ordered messages of its key."""
        return (m for m in self.messages.values() if m.ordered and m.key == message.key)

    # The relay's side

    def due(self, slots: set[int], now: int) -> list[int]:
        """What a claim of these slots may return, were its limit endless."""
        return [
            m.id
            for m in self.messages.values()
            if m.status == "pending"
            and slot_of(m.key) in slots
            and not m.waits(now)
            and not (m.ordered and any(e.id < m.id and e.waits(now) for e in self._lane(m)))
        ]

    def mark(self, kind: str, message: Message, now: int) -> None:
        """A mark that does not ask who marks."""
        if kind == "published" and message.status == "pending":
            message.published = now
            message.go("published")
        elif kind == "dead" and message.is_open:
            message.go("dead")
        elif kind == "failed" and message.is_open:
            self._fail(message, now)

    def mark_batch(self, kind: str, claimed: Iterable[tuple[int, int | None]], slots: set[int], now: int) -> int:
        """A fenced mark: only what is still as it was claimed, in slots that are still owned."""
        valid = [self.messages[id_] for id_, receipt in claimed if self._is_as_claimed(self.messages[id_], receipt)]
        marked = [message for message in valid if slot_of(message.key) in slots]
        for message in marked:
            self.mark(kind, message, now)
        return len(marked)

    @staticmethod
    def _is_as_claimed(message: Message, receipt: int | None) -> bool:
        return message.status == "pending" and message.due == receipt

    def _fail(self, message: Message, now: int) -> None:
        wait = min(32, 2**message.retries)
        message.retries += 1
        if message.retries >= message.max_retry:
            message.go("dead")
            return
        message.go("pending", now + wait * SECOND)
        if message.ordered:
            for follower in self._lane(message):
                if follower.id > message.id and follower.status == "published":
                    follower.go("pending", message.due)

    # The consumer's side

    def persist(self, message: Message) -> None:
        """One message takes effect, whatever its order."""
        if message.is_open:
            self._take_effect(message)

    def consume(self, records: Sequence[tuple[int, bool]], now: int) -> dict[int, str]:
        """A batch of ids, each with whether its record is what the outbox holds."""
        genuine: dict[int, bool] = {}
        for id_, is_genuine in records:
            genuine.setdefault(id_, is_genuine)
        outcomes = {
            id_: {"consumed": "duplicate", "dead": "dead"}.get(self.messages[id_].status, "") for id_ in sorted(genuine)
        }
        self._defer(outcomes, now)
        for id_ in sorted(genuine):
            message = self.messages[id_]
            if outcomes[id_]:
                continue
            if genuine[id_] and message.fits:
                self._take_effect(message)
                outcomes[id_] = "consumed"
            elif genuine[id_]:
                message.go("dead")
                outcomes[id_] = "dead"
            else:
                self._fail(message, now)
                outcomes[id_] = "failed" if message.status == "pending" else "dead"
                self._defer(outcomes, now)
        return outcomes

    def _take_effect(self, message: Message) -> None:
        message.go("consumed")
        self.chats.append(message.text)

    def _defer(self, outcomes: dict[int, str], now: int) -> None:
        to_do = [self.messages[id_] for id_, outcome in outcomes.items() if not outcome]
        for message in to_do:
            first = next((e for e in self._lane(message) if e.is_open and outcomes.get(e.id) != ""), None)
            if message.ordered and first is not None and first.id < message.id:
                outcomes[message.id] = "deferred"
                message.go("pending", self._turn_after(first, now))

    @staticmethod
    def _turn_after(first: Message, now: int) -> int:
        if first.status == "pending":
            return max(first.due or now, now) + 1
        under_way = (now - (first.published or first.created)) // SECOND
        return now + min(32, max(1, under_way)) * SECOND
