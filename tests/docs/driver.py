"""What the docs are made from and checked against in the driver: the only imports of it here."""

from outboxd.commands.main import COMMANDS, cli
from outboxd.observe import metrics as metrics_module
from outboxd.settings import Settings

__all__ = ["COMMANDS", "Settings", "cli", "metrics_module"]
