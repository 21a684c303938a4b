"""How far the messages of a scene have come, by the server's clock."""

import time
from datetime import datetime

from tests.faults.stage import Scene


def now(scene: Scene) -> datetime:
    """The server's time."""
    moment: datetime = scene.session.value("SELECT UTC_TIMESTAMP(6)")
    return moment


def consumed(scene: Scene) -> int:
    """How many messages have taken effect."""
    return scene.counts().get("consumed", 0)


def enqueued(scene: Scene, since: datetime) -> int:
    """How many messages were enqueued after a moment, and have committed."""
    return int(scene.session.value("SELECT COUNT(*) FROM agent_outbox_messages WHERE created_at > %s", since))


def published(scene: Scene, since: datetime) -> int:
    """How many messages were marked published after a moment."""
    return int(scene.session.value("SELECT COUNT(*) FROM agent_outbox_messages WHERE published_at > %s", since))


def wait_for_more(scene: Scene, more: int, seconds: float) -> float:
    """Wait until so many messages more have taken effect; returns after how many seconds."""
    began = time.monotonic()
    goal = consumed(scene) + more
    scene.wait_until(lambda: consumed(scene) >= goal, f"{more} messages more have taken effect", seconds)
    return time.monotonic() - began


def wait_for_all_until_now(scene: Scene, seconds: float) -> float:
    """Wait until all that is enqueued by now is consumed or dead; returns after how many seconds."""
    began = time.monotonic()
    last = scene.session.value("SELECT COALESCE(MAX(id), 0) FROM agent_outbox_messages")
    open_ = "SELECT EXISTS (SELECT 1 FROM agent_outbox_messages WHERE status IN ('pending', 'published') AND id <= %s)"
    scene.wait_until(lambda: not scene.session.value(open_, last), "what had been enqueued is final", seconds)
    return time.monotonic() - began
