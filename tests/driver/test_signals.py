"""SIGTERM as the first process of a container, which the kernel ignores unless the process says what it does."""

import socket
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from tests.kit.command import OUTBOXD, environment
from tests.kit.waiting import eventually
from tests.servers.process import LOOPBACK


@pytest.mark.parametrize("seconds", [0.0, 0.1, None], ids=["at once", "while it starts", "while it waits"])
@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["run", "--topics", "chat"], 0), (["status"], 1), (["top"], 1)],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_sigterm_ends_the_first_process_of_a_container(
    arguments: list[str], code: int, seconds: float | None, tmp_path: Path
) -> None:
    accepted: list[object] = []
    container = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc"]
    with (
        socket.create_server((LOOPBACK, 0)) as mute,  # and so all wait for MySQL
        subprocess.Popen(
            [*container, OUTBOXD, *arguments],
            env=environment({"mysql_url": f"mysql://nobody@{LOOPBACK}:{mute.getsockname()[1]}/none"}),
            cwd=tmp_path,
        ) as outside,
    ):
        try:
            eventually(lambda: bool(psutil.Process(outside.pid).children()))
            (first,) = psutil.Process(outside.pid).children()
            eventually(lambda: takes_sigterm(first))
            if seconds is None:
                mute.settimeout(30)
                accepted.append(mute.accept())  # and kept, so that it goes on to wait
                time.sleep(1.0)
            else:
                time.sleep(seconds)
            first.terminate()
            # 143: it came while the program was starting.
            assert outside.wait(30) in ({code} if seconds is None else {code, 143})
        finally:
            outside.kill()


def takes_sigterm(process: psutil.Process) -> bool:
    """Whether it has said what it does about SIGTERM: it has blocked or caught it."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    masks = [int(line.split()[1], 16) for line in status.splitlines() if line.startswith(("SigBlk:", "SigCgt:"))]
    return any(mask >> 14 & 1 for mask in masks)


@pytest.mark.parametrize("arguments", [["run"], ["dead", "list"], ["none"], ["--help"], []], ids=" ".join)
def test_command_is_imported_before_sigterm_interrupts_instead_of_ending(arguments: list[str]) -> None:
    tell = (
        "import sys\n"
        "from outboxd import __main__, signals\n"
        "def interrupt():\n"
        "    print(*(name for name in sys.modules if name.startswith('outboxd.commands.')))\n"
        "    sys.exit()\n"
        "signals.interrupt_on_sigterm = interrupt\n"
        "__main__.main()"
    )
    command = [str(OUTBOXD.with_name("python")), "-c", tell, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    there = {name.split(".")[2] for name in done.stdout.split()} & {"run", "dead", "console", "doctor"}
    assert there == {"run", "dead"} & set(arguments)


def test_sigterm_is_taken_before_the_imports_that_take_long() -> None:
    done = subprocess.run(
        [OUTBOXD.with_name("python"), "-X", "importtime", "-c", "from outboxd.__main__ import main"],
        capture_output=True,
        text=True,
        check=True,
    )
    modules = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "outboxd.signals" in modules
    assert {"click", "mysql", "confluent_kafka", "importlib.metadata"} & modules == set()
