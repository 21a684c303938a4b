"""outboxd: a transactional outbox in MySQL, and the daemon that moves its payloads to and from Kafka."""


def __getattr__(name: str) -> str:
    """The version, looked up when it is asked for: until SIGTERM is taken (see signals), a start must be short."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import version  # noqa: PLC0415

    return version("outboxd")
