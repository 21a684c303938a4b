"""A mysqld whose clock can be set while it runs: libfaketime is loaded into it."""

from dataclasses import replace
from pathlib import Path

from . import apt
from .errors import ServerError
from .mysql_install import MySQLInstall

_LIBRARY = "*/faketime/libfaketimeMT.so.1"


class FakeClock:
    """The clock of whatever was started with it: as far from the machine's as it was last set."""

    def __init__(self, folder: Path) -> None:
        """The folder gets the file that says how far, and which libfaketime reads every second."""
        self._file = folder / "clock"
        self.set(0)

    def set(self, seconds: int) -> None:
        """Put the clock so many seconds before (negative) or after the machine's, within a second or two."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        new.replace(self._file)

    def in_mysql(self, install: MySQLInstall, folder: Path) -> MySQLInstall:
        """The same programs, with a mysqld that has this clock; a script in the folder starts it.

        Raises ServerError where libfaketime cannot be had.
        """
        # Only what is started is to have it, not the shell and what that needs: they may be of another C library.
        variables = (
            f"LD_PRELOAD='{_find()}' FAKETIME_TIMESTAMP_FILE='{self._file}' FAKETIME_CACHE_DURATION=1"
            " FAKETIME_DONT_FAKE_MONOTONIC=1"
        )
        text = install.mysqld.read_text()
        if text.count("\nexec ") != 1 or "here=$(" not in text:
            raise ServerError(f"{install.mysqld} is not the script that was expected")
        script = folder / "mysqld"
        lines = [
            f"here='{install.mysqld.parent}'" if line.startswith("here=$(") else line for line in text.splitlines()
        ]
        script.write_text("\n".join(lines).replace("\nexec ", f"\n{variables} exec ") + "\n")
        script.chmod(0o755)
        return replace(install, mysqld=script)


def _find() -> Path:
    """The machine's library, else one under ``.cache`` that is downloaded the first time."""
    installed = next(Path("/usr/lib").glob(_LIBRARY), None)
    if installed:
        return installed
    target = apt.fetched("libfaketime", ["libfaketime"], "libfaketime")
    return next((target / "root/usr/lib").glob(_LIBRARY))
