"""What faults of MySQL have in common: they begin once messages flow, and look at what the daemons said."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from shutil import copy, rmtree
from tempfile import mkdtemp

from tests.faults.stage import Scene, Stage
from tests.kit import ledger
from tests.kit.session import Session
from tests.servers import mysql_install
from tests.servers.lasting import LastingMySQL
from tests.servers.mysql_install import MySQLInstall
from tests.servers.paths import cache_dir

_FLOWING = 20
_SECONDS = 60


def wait_until_flowing(scene: Scene, session: Session, more: int = _FLOWING, seconds: float = _SECONDS) -> None:
    """Wait until so many more messages have taken effect."""
    count = "SELECT COUNT(*) FROM chat_histories"
    enough = session.value(count) + more
    scene.wait_until(lambda: session.value(count) >= enough, f"{more} more messages take effect", seconds)


def waited(scene: Scene, *texts: str) -> list[str]:
    """Names of the daemons that have said that they wait for MySQL, for a reason with one of the texts in it."""
    return [
        daemon.name
        for daemon in scene.daemons
        if any(is_about(str(event["reason"]), texts) for event in daemon.events("unavailable"))
    ]


def is_about(reason: str, texts: Sequence[str]) -> bool:
    """Whether a reason to wait is MySQL, and one of the texts is in it; any text where none is given."""
    return reason.startswith("MySQL") and (not texts or any(text.lower() in reason.lower() for text in texts))


def wait_until_waited(scene: Scene, *texts: str, only: str = "") -> None:
    """Wait until every daemon, or every one of a kind, has said so at least once."""
    names = {daemon.name for daemon in scene.daemons if only in {"", daemon.only}}
    what = f"every {only or 'daemon'} says that it waits for MySQL ({' or '.join(texts) or 'whatever the reason'})"
    scene.wait_until(lambda: names.issubset(waited(scene, *texts)), what, _SECONDS)


def application_errors(scene: Scene) -> Sequence[str]:
    """What applications were told so far other than success, each as `number: text`."""
    return ledger.read(scene.folder.glob("*.ledger")).errors


def wait_until_told(scene: Scene, *numbers: int) -> None:
    """Wait until an application was told one of these errors."""
    prefixes = tuple(f"{number}:" for number in numbers)

    def is_told() -> bool:
        return any(error.startswith(prefixes) for error in application_errors(scene))

    scene.wait_until(is_told, f"an application sees error {' or '.join(map(str, numbers))}", _SECONDS)


def log_since(database: LastingMySQL) -> Callable[[], str]:
    """A function that returns what the server has logged from now on."""
    log = database.data_dir / "error.log"
    begin = log.stat().st_size

    def read() -> str:
        with log.open("rb") as file:
            file.seek(begin)
            return file.read().decode(errors="replace")

    return read


@contextmanager
def other_mysql(
    stage: Stage, name: str, extra: Sequence[str], install: MySQLInstall | None = None, folder: Path | None = None
) -> Iterator[Stage]:
    """The same stage with another MySQL, which is gone at the end; its log stays. Its data is in the folder, if given.

    Raises ServerError where the server cannot be had.
    """
    data = folder or Path(mkdtemp(prefix=f"{name}-", dir=cache_dir()))
    database = LastingMySQL(install or mysql_install.find(), data / "mysql", extra)
    try:
        database.start()
        yield replace(stage, mysql=database)
    finally:
        database.end()
        log = database.data_dir / "error.log"
        if log.exists():
            copy(log, stage.folder / f"{name}.log")
        if folder is None:
            rmtree(data, ignore_errors=True)
