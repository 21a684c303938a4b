"""The command of a made-up next release: ``python -m tests.deploy.next_outboxd run ...`` is its ``outboxd run ...``.

It is the real package, with the migrations in next_release/ on top of those in sql/, and a relay that calls the second
version of outbox_claim.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from outboxd import cli, migrations, relay
from outboxd.database import Database, Message, Receipt
from outboxd.migrations import Migration

FOLDER = Path(__file__).with_name("next_release")
COMMAND = (sys.executable, "-m", "tests.deploy.next_outboxd")


class NextDatabase(Database):
    """The connection of the next release's relay."""

    def claim(self, relay: str, limit: int, lease_seconds: int, wait_ms: int) -> Iterator[Message]:
        """outbox_claim_v2."""
        for row in self.call("outbox_claim_v2", relay, limit, lease_seconds, wait_ms):
            yield Message(
                id=row["id"],
                biz_type=row["biz_type"],
                topic=row["topic"],
                key=row["message_key"],
                payload=row["payload"],
                headers=row["headers"],
                created_at=row["created_at"],
                receipt=Receipt(row["id"], row["receipt"]),
            )


def own_migrations() -> list[Migration]:
    """What the next release adds to sql/."""
    return migrations.in_folder(FOLDER)


def main() -> None:
    """Run the command."""
    together = [*migrations.available(), *own_migrations()]
    vars(migrations)["available"] = lambda: together
    vars(relay)["Database"] = NextDatabase
    cli.main()


if __name__ == "__main__":
    main()
