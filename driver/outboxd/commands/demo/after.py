"""What `outboxd demo --console` leaves: the daemon at work, some messages that fail, and the web console."""

import importlib.util
import json

from outboxd.commands.demo.errors import DemoError
from outboxd.commands.output import console, say
from outboxd.mysql.procedures import Database
from outboxd.settings import Settings, SettingsError

_PORT = 9480
_DEAD, _FAILING, _BEHIND = 6, 2, 3
_TYPE = "demo_order"
# An application's handler, which can do nothing about some orders; they may become good, so they are tried again.
_HANDLER = """CREATE PROCEDURE demo_order (p_id BIGINT UNSIGNED, p_payload LONGTEXT CHARACTER SET utf8mb4)
IF LOCATE('"A-7"', p_payload) THEN
  SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'there is no A-7 in stock';
END IF"""


def check() -> None:
    """Raise DemoError where the console cannot be served."""
    if importlib.util.find_spec("starlette") is None:
        raise DemoError("--console needs outboxd[console]: pip install 'outboxd[console]'")


def serve(settings: Settings, database: Database, topic: str) -> None:
    """Enqueue some messages that fail, and serve the console until SIGTERM or Ctrl-C."""
    from outboxd.console import server  # noqa: PLC0415

    database.query(_HANDLER)
    database.register_biz_type(
        _TYPE, handler=_TYPE, ordering="key", max_retry=None, backoff_base=None, backoff_cap=None
    )

    def order(key: str, sku: str, **options: int) -> dict[str, object]:
        return {"biz_type": _TYPE, "topic": topic, "key": key, "payload": json.dumps({"sku": sku}), **options}

    bad = [order(f"dies-{number}", "A-7", max_retry=1) for number in range(_DEAD)]
    lanes = [order(f"stuck-{number}", "A-7") for number in range(_FAILING)]
    behind = [order(f"stuck-{number}", "B-2") for number in range(_FAILING) for _ in range(_BEHIND)]
    database.enqueue_batch(json.dumps([*bad, *lanes, *behind]))
    console.print(f"and for the console: {_DEAD} messages that die, {_FAILING} that fail with {_BEHIND} behind each")
    account = settings.mysql_arguments()["user"]
    say(f"the console runs until Ctrl-C; log in as {account}, with the password that is in mysql_url")
    try:
        server.run({settings.label: settings}, server.Listening("127.0.0.1", _PORT))
    except SettingsError:  # the port is taken
        server.run({settings.label: settings}, server.Listening("127.0.0.1", 0))
