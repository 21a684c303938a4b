"""What the docs are made from and checked against in the driver: the only imports of it here."""

from outboxd import metrics as metrics_module
from outboxd.cli import cli
from outboxd.settings import Settings

__all__ = ["Settings", "cli", "metrics_module"]
