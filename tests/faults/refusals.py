"""A producer that refuses records as a broker with a create-policy would, as the launcher says."""

import random
from typing import Any

import structlog
from confluent_kafka import KafkaError, Producer

log = structlog.get_logger()


class Chooser:
    """Chooses whom to refuse: one in so many records, but at_most so many, and all of one key."""

    def __init__(self, seed: str, one_in: int, at_most: int, key: str) -> None:
        self._chance = random.Random(seed)
        self._one_in, self._at_most, self._key = one_in, at_most, key
        self._refused_once: set[bytes] = set()
        self._chosen = 0

    def refuses(self, record: dict[str, Any]) -> bool:
        """Whether this record, the arguments of produce(), is refused."""
        event = dict(record["headers"])["ce_id"]
        # A record that was refused in a batch is sent once more, alone, and has to be refused again.
        if event in self._refused_once:
            self._refused_once.remove(event)
            return True
        if record["key"] == self._key:
            return True
        is_drawn = self._one_in > 0 and self._chance.randrange(self._one_in) == 0
        if is_drawn and self._chosen < self._at_most:
            self._chosen += 1
            self._refused_once.add(event)
            log.debug("injected", id=event)
            return True
        return False


def refusing(chooser: Chooser) -> type[Producer]:
    """The publisher's producer; the callback of a refused record gets the error later."""

    class Refusing(Producer):
        def __init__(self, configuration: dict[str, Any]) -> None:
            super().__init__(configuration)
            self._refused: list[Any] = []

        def produce(self, *topic: Any, **record: Any) -> None:
            if chooser.refuses(record):
                self._refused.append(record["on_delivery"])
            else:
                super().produce(*topic, **record)

        def poll(self, timeout: float = -1) -> int:
            refused = self._answer_refused()
            return refused + int(super().poll(0 if refused else timeout))

        def flush(self, timeout: float = -1) -> int:
            return int(super().flush(0 if self._answer_refused() else timeout))

        def purge(self, *options: Any, **more: Any) -> None:
            self._refused.clear()
            super().purge(*options, **more)

        def _answer_refused(self) -> int:
            refused, self._refused = self._refused, []
            for on_delivery in refused:
                on_delivery(KafkaError(KafkaError.POLICY_VIOLATION, "injected"), None)
            return len(refused)

    return Refusing
