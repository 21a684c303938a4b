"""What must stay as it is, whatever is called with whichever text: other messages, tables, routines and rights."""

import json
from collections import Counter
from dataclasses import dataclass

from tests.kit.session import Row, Session

_TABLES = (
    "agent_outbox_messages",
    "chat_histories",
    "outbox_audit",
    "outbox_biz_types",
    "outbox_migrations",
    "outbox_pauses",
    "outbox_retry_topics",
    "outbox_subscriptions",
)
_OBJECTS = (
    "SELECT CONCAT('table ', table_name) FROM information_schema.tables WHERE table_schema = DATABASE()",
    "SELECT CONCAT('routine ', routine_name, ' ', SHA2(routine_definition, 256)) FROM information_schema.routines"
    " WHERE routine_schema = DATABASE()",
    "SELECT CONCAT('event ', event_name, ' ', status) FROM information_schema.events WHERE event_schema = DATABASE()",
    "SELECT CONCAT('account ', user, '@', host) FROM mysql.user",
    "SELECT CONCAT('schema ', schema_name) FROM information_schema.schemata",
)

_NOTES = {"noted_for", "parked_for", "parked_until", "waits_for", "wakes_at", "is_waiting"}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All rows and all objects at one moment."""

    rows: dict[str, Counter[str]]
    objects: set[str]

    def added(self, earlier: "Snapshot") -> dict[str, int]:
        """How many rows each table has that it had not; fails where one is gone or is another now."""
        assert self.objects == earlier.objects
        for table, rows in earlier.rows.items():
            assert not rows - self.rows[table], table
        counts = {table: (rows - earlier.rows[table]).total() for table, rows in self.rows.items()}
        return {table: count for table, count in counts.items() if count}


def arrange(db: Session) -> None:
    """Put a row of every kind into the database: what an injected statement would find."""
    for status in ("pending", "published", "consumed", "dead"):
        db.enqueue_in(status, f"bystander {status}", topic="bystanders")
    db.call("outbox_pause_v1", "bystanders", None)


def remove_all_others(db: Session) -> None:
    """Take away what calls have left."""
    db.execute(
        "DELETE FROM agent_outbox_messages WHERE topic <> 'bystanders';"
        "DELETE FROM outbox_subscriptions;"
        "DELETE FROM outbox_pauses WHERE name <> 'bystanders'"
    )


def look(db: Session, without: int = 0) -> Snapshot:
    """Take everything in, but for one message."""
    rows = {table: Counter(map(_as_text, db.rows(f"SELECT * FROM {table}"))) for table in _TABLES}
    if without:
        own = db.rows("SELECT * FROM agent_outbox_messages WHERE id = %s", without)
        rows["agent_outbox_messages"] -= Counter(map(_as_text, own))
    return Snapshot(rows, {str(name) for query in _OBJECTS for name in db.column(query)})


def _as_text(row: Row) -> str:
    """Without what a relay notes at messages of its slots."""
    return json.dumps({name: row[name] for name in row.keys() - _NOTES}, default=str, sort_keys=True)
