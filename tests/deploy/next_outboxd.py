"""The command of a made-up next release: ``python -m tests.deploy.next_outboxd run ...`` is its ``outboxd run ...``.

It is the real package, with the migrations in next_release/ on top of those in sql/, and a relay that calls the second
version of outbox_claim.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from outboxd.commands.main import main as run_command
from outboxd.daemon import relay
from outboxd.messages import Message, Receipt
from outboxd.mysql.procedures import RelayProcedures
from outboxd.schema import files
from outboxd.schema.files import Migration

FOLDER = Path(__file__).with_name("next_release")
COMMAND = (sys.executable, "-m", "tests.deploy.next_outboxd")


class NextProcedures(RelayProcedures):
    """The connection of the next release's relay."""

    def claim(self, relay: str, limit: int, lease_seconds: int, wait_ms: int) -> Iterator[Message]:
        """outbox_claim_v2."""
        for row in self.call("outbox_claim_v2", relay, limit, lease_seconds, wait_ms):
            yield Message(
                id=row["id"],
                biz_type=row["biz_type"],
                topic=row["topic"],
                key=row["message_key"],
                value=row["value"],
                content_type=row["content_type"],
                headers=row["headers"],
                created_at=row["created_at"],
                receipt=Receipt(row["id"], row["receipt"]),
            )


def own_migrations() -> list[Migration]:
    """What the next release adds to sql/."""
    return files.in_folder(FOLDER)


def main() -> None:
    """Run the command."""
    together = [*files.available(), *own_migrations()]
    vars(files)["available"] = lambda: together
    vars(relay)["RelayProcedures"] = NextProcedures
    run_command()


if __name__ == "__main__":
    main()
