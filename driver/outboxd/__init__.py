"""outboxd: a transactional outbox in MySQL, and the daemon that moves its payloads to and from Kafka."""

from importlib.metadata import version

__version__ = version("outboxd")
