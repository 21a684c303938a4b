"""The command `outboxd` as a user runs it: installed, in a folder, with settings from the environment."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import click
from click.testing import Result

from outboxd.settings import Settings
from tests.servers.paths import CHECKOUT

OUTBOXD = Path(sys.executable).with_name("outboxd")
_DEADLINE_S = 120

Command = Sequence[str | Path]
Setting = str | int | list[str] | Mapping[str, Any]


def environment(settings: Mapping[str, Setting]) -> dict[str, str]:
    """The environment of a process that has these settings of outboxd and no others, and finds the tests' modules."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("OUTBOXD_")}
    own["PYTHONPATH"] = os.pathsep.join([str(CHECKOUT), *filter(None, [own.get("PYTHONPATH")])])
    return own | {f"OUTBOXD_{name.upper()}": _as_text(value) for name, value in settings.items()}


def _as_text(value: Setting) -> str:
    if isinstance(value, list):
        return ",".join(value)
    return json.dumps(value) if isinstance(value, Mapping) else str(value)


def subcommands(group: click.Group) -> dict[str, click.Command]:
    """The commands of a group by name; outboxd's own imports them only now."""
    context = click.Context(group)
    found = {name: group.get_command(context, name) for name in group.list_commands(context)}
    return {name: command for name, command in found.items() if command}


class Run(Protocol):
    """Runs the installed command to its end, with settings from the environment."""

    def __call__(
        self, *arguments: str, stdin: bytes = b"", **settings: Setting
    ) -> subprocess.CompletedProcess[str]: ...


class Invoke(Protocol):
    """The same inside this process, for speed; what main() does about errors is not in it."""

    def __call__(self, *arguments: str, stdin: bytes = b"", **settings: Setting) -> Result: ...


def run(
    folder: Path,
    settings: Mapping[str, Setting],
    arguments: Sequence[str],
    stdin: bytes = b"",
    command: Command = (OUTBOXD,),
) -> subprocess.CompletedProcess[str]:
    """Run the installed command in a folder, as a user would, or another that is used alike."""
    done = subprocess.run(
        [*command, *arguments],
        env=environment(settings),
        cwd=folder,
        input=stdin,
        capture_output=True,
        timeout=_DEADLINE_S,
        check=False,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def the_one_line(done: subprocess.CompletedProcess[str]) -> str:
    """The only line on standard error of a command that failed, which is no traceback."""
    assert done.returncode == 1, (done.returncode, done.stdout, done.stderr)
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("outboxd: ")
    return lines[0]


def settings(mysql_url: str = "mysql://user@localhost/db", **others: Any) -> Settings:
    """Settings for calls of the driver's own modules."""
    return Settings(mysql_url=mysql_url, **others)
