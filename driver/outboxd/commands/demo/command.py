"""`outboxd demo`: chat through the whole outbox, the daemon killed once on the way, and a check of what arrived."""

import os
import resource
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from rich.live import Live
from rich.table import Table

from outboxd.commands.demo import after, chat, writers
from outboxd.commands.demo.daemon import DaemonProcess, kafka
from outboxd.commands.demo.errors import DemoError
from outboxd.commands.options import ALL, with_settings
from outboxd.commands.output import console
from outboxd.mysql.procedures import Database
from outboxd.schema import migrations
from outboxd.settings import Settings, load

_STALLED_AFTER_SECONDS = 120
# The demo has values of its own for these; its daemon gets all others.
_USED = [name for name in ALL if name not in {"kafka_bootstrap", "topics", "lease_seconds"}]


@click.command()
@click.option(
    "--chat", "file", type=click.Path(exists=True, dir_okay=False), help="JSON lines of chat; default: a sample"
)
@click.option("--broker", help="host:port of a Kafka broker; default: a mock cluster inside the demo")
@click.option(
    "--inbox", metavar="MYSQL_URL", help="an empty database of another service, which gets the chat as events"
)
@click.option(
    "--console", "with_console", is_flag=True, help="then serve the web console on what is there, until Ctrl-C"
)
@with_settings(*_USED)
def demo(settings: Settings, file: str | None, broker: str | None, inbox: str | None, with_console: bool) -> None:
    """Send chat through the outbox, killing the daemon once on the way, and check that every message arrived once.

    With --inbox it takes effect in the database of another service, which has a daemon of its own and subscribes to it.
    """
    if with_console:
        after.check()
    if not _run(settings, file, broker, inbox, with_console=with_console):
        sys.exit(1)


def _run(settings: Settings, file: str | None, broker: str | None, inbox: str | None, *, with_console: bool) -> bool:
    """Run the demo and print its progress; the last line is the result. Returns whether all is well."""
    receiving = settings if inbox is None else load(**settings.model_dump(exclude_unset=True) | {"mysql_url": inbox})
    lines = chat.read(file)
    expected = chat.conversations(lines)
    lines = [line for line in lines if line.strip()]
    topic = f"outboxd-demo-{os.getpid()}"
    with (
        Database(settings) as database,
        Database(receiving) as receiver,
        kafka(settings, broker, topic) as bootstrap,
        TemporaryDirectory() as folder,
    ):
        for of_service in [database] if inbox is None else [database, receiver]:
            _install(of_service)
        if inbox is not None:
            source = database.identity().source
            receiver.subscribe(source, writers.EVENT, "chat_history_persist")
            console.print(f"{receiving.database} subscribes to {writers.EVENT} of {source}")
        where = f"Kafka at {broker}" if broker else "a mock of Kafka inside this demo"
        console.print(f"{len(lines)} messages of {len(expected)} conversations, through {where}")

        session_ms = 6000 if broker else 3000  # brokers accept no less
        # A consumer that was killed is missed after its session's timeout, and its partitions are idle until then.
        session = {"session.timeout.ms": session_ms, "heartbeat.interval.ms": session_ms // 3}
        own = {
            "kafka_bootstrap": bootstrap,
            "kafka_options": {**(settings.kafka_options if broker else {}), **session},
            "topics": [topic],
            "lease_seconds": 3,
        }
        daemons = [DaemonProcess(receiving.model_copy(update=own), Path(folder))]
        if inbox is not None:
            relay = settings.model_copy(update={**own, "metrics_address": ""})
            daemons.append(DaemonProcess(relay, Path(folder), "--only", "relay"))
        started, killed = time.monotonic(), threading.Event()
        for daemon in daemons:
            daemon.start()
        try:
            applications = writers.start(settings, topic, lines, killed, as_events=inbox is not None)
            _watch(receiver, daemons, applications, killed, len(lines))
            if with_console:
                seconds = time.monotonic() - started
                check = chat.check(receiver, expected, len(lines))
                _tell(check, seconds)
                after.serve(receiving.model_copy(update=own), receiver, topic)
        finally:
            for daemon in daemons:
                daemon.stop()
        if not with_console:
            seconds = time.monotonic() - started
            check = chat.check(receiver, expected, len(lines))
            memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
            console.print(f"the daemon had at most {memory} MB resident")
            _tell(check, seconds)
    return check.is_well


def _tell(check: chat.Check, seconds: float) -> None:
    console.print(
        f"{check.messages} messages, {check.persisted} persisted, {check.duplicated} duplicated, "
        f"{check.out_of_order} out of order, {check.dead} dead, in {seconds:.1f} s ({check.messages / seconds:.0f}/s)",
        highlight=False,
        soft_wrap=True,
    )


def _install(database: Database) -> None:
    applied = list(migrations.apply(database))
    name = database.query("SELECT DATABASE()")[0][0]
    if database.status():
        raise DemoError(f"database {name} has messages already: give the demo an empty one")
    console.print(f"{len(applied)} migrations applied to database {name}")


def _watch(
    database: Database,
    daemons: list[DaemonProcess],
    applications: list[writers.Writer],
    killed: threading.Event,
    total: int,
) -> None:
    """Show the counts until every message is final where it takes effect; kill the daemons once, in the middle."""
    started = last_progress = time.monotonic()
    best = 0
    with Live(console=console, refresh_per_second=4, transient=not console.is_terminal) as live:
        while True:
            counts = Counter({row["status"]: row["messages"] for row in database.status()})
            final = counts["consumed"] + counts["dead"]
            seconds = time.monotonic() - started
            live.update(_counts(counts, sum(one.enqueued for one in applications), total, final / max(seconds, 0.1)))
            for application in applications:
                if application.error:
                    raise DemoError(f"enqueuing failed: {application.error}")
            for daemon in daemons:
                daemon.check_alive()
            # Before the check for the end: of a message or two, all may be final at the first look.
            if final >= max(1, total // 4) and not killed.is_set():
                for daemon in daemons:
                    daemon.kill_and_restart()
                killed.set()
                what = "the daemon (SIGKILL)" if len(daemons) == 1 else "both daemons (SIGKILL)"
                console.print(
                    f"killed {what} at {final} of {total}, and started again; "
                    f"Kafka misses the killed consumer after {daemons[0].session_seconds} s"
                )
            if final >= total:
                return
            if final > best:
                best, last_progress = final, time.monotonic()
            elif time.monotonic() - last_progress > _STALLED_AFTER_SECONDS:
                raise DemoError(
                    f"nothing moved for {_STALLED_AFTER_SECONDS} s; the daemon's log ends:\n{daemons[0].log_tail()}"
                )
            time.sleep(0.25)


def _counts(counts: Counter[str], enqueued: int, total: int, rate: float) -> Table:
    table = Table("enqueued", "pending", "published", "consumed", "dead", "rate", box=None)
    columns = [str(counts[name]) for name in ("pending", "published", "consumed", "dead")]
    table.add_row(f"{enqueued}/{total}", *columns, f"{rate:.0f}/s")
    return table
