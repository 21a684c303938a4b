"""The daemon: starts relay and consumer workers as threads, and ends them on a signal."""

import os
import secrets
import signal
import threading
import time
from collections.abc import Callable
from functools import partial

import mysql.connector
import structlog
from mysql.connector import errorcode

from outboxd import consumer, migrations, monitor, recovery, relay, systemd, tracing
from outboxd.database import Database
from outboxd.endpoints import serving
from outboxd.health import Health
from outboxd.retry import Unavailable, until_available
from outboxd.settings import Settings, SettingsError

log = structlog.get_logger()


class SchemaError(Exception):
    """The database has no schema of outboxd, or one that this daemon does not know."""


def run(settings: Settings, *, relays: bool, consumers: bool) -> None:
    """Run until SIGTERM or SIGINT; a second signal ends the process at once, with exit code 130.

    Raises SettingsError where a consumer has no topics, SchemaError where a migration is missing, and the error of a
    worker that failed for good.
    """
    if consumers and not settings.topics:
        raise SettingsError("setting topics is missing: give --topics or OUTBOXD_TOPICS, or --only relay")
    stop = threading.Event()
    _stop_on_signals(stop)
    _give_up_in_time(stop, 2 * (settings.stop_seconds + settings.wait_ms / 1000))
    health = Health(stop, settings.stall_seconds + settings.wait_ms / 1000)
    with serving(settings, health) as served, tracing.starting():
        try:
            until_available(stop, partial(check_schema, settings))
        except Unavailable:
            return  # stopped while waiting for MySQL

        # Never the name of an earlier process: what that one left in flight must not pass for this one's.
        me = f"{settings.name}-{os.getpid()}-{secrets.token_hex(3)}"
        names = [f"{me}-{number}" for number in range(settings.relay_workers)] if relays else []
        workers: dict[str, Callable[[], None]] = {}
        for number, name in enumerate(names):
            workers[f"relay-{number}"] = partial(relay.run, settings, name, stop)
        if relays:
            workers["recovery"] = partial(recovery.run, settings, stop)
        if consumers:
            for number in range(settings.consumer_workers):
                workers[f"consumer-{number}"] = partial(consumer.run, settings, stop)
        if served.address:
            workers["monitor"] = partial(monitor.run, settings, names, health, stop)

        topics = settings.topics if consumers else None
        log.info("started", name=me, workers=list(workers), topics=topics, metrics=served.address)
        if served.problem:
            log.warning("no metrics", reason=served.problem)
        _work_until_stopped(workers, health, stop)
        log.info("stopped", name=me)
    if health.failures:
        raise next(iter(health.failures.values()))


def check_schema(settings: Settings) -> None:
    """Raise SchemaError where the daemon and the schema do not fit.

    It names the first migration that the daemon needs and the database does not have, or the one that was dropped by
    a newer release. Migrations that the daemon does not know, and its own that only drop something, are no obstacle.
    """
    with Database(settings) as database:
        try:
            dropped_by = database.installed()
        except mysql.connector.Error as error:
            if error.errno != errorcode.ER_SP_DOES_NOT_EXIST:
                raise
            dropped_by = {}
    needed = [migration for migration in migrations.available() if not migration.is_post]
    missing = [migration.file for migration in needed if migration.version not in dropped_by]
    if missing:
        raise SchemaError(
            f"database {settings.database} lacks migration {missing[0]}"
            f"{f' and {len(missing) - 1} more' if missing[1:] else ''}: run `outboxd migrate`"
        )
    too_old = migrations.why_too_old(dropped_by)
    if too_old:
        raise SchemaError(f"database {settings.database}: {too_old}")


def _work_until_stopped(workers: dict[str, Callable[[], None]], health: Health, stop: threading.Event) -> None:
    threads = [threading.Thread(target=_work, args=(work, health, stop), name=name) for name, work in workers.items()]
    health.watch(threads)
    for thread in threads:
        thread.start()
    systemd.notify("READY=1")
    while alive := [thread for thread in threads if thread.is_alive()]:
        alive[0].join(systemd.watchdog_seconds() or 1)
        if not health.why_not_alive():
            systemd.notify("WATCHDOG=1")


def _work(work: Callable[[], None], health: Health, stop: threading.Event) -> None:
    name = threading.current_thread().name
    with structlog.contextvars.bound_contextvars(worker=name):
        try:
            work()
        except Exception as error:  # a worker that fails for good ends the daemon, which says why
            log.error("failed", error=str(error), exc_info=not isinstance(error, mysql.connector.Error | SettingsError))
            health.failures[name] = error
            stop.set()


def _give_up_in_time(stop: threading.Event, seconds: float) -> None:
    """So many seconds after the stop, end the process: it may hang in a server that does not answer."""

    def wait() -> None:
        stop.wait()
        time.sleep(seconds)
        main = threading.main_thread()
        workers = [thread.name for thread in threading.enumerate() if not thread.daemon and thread is not main]
        log.error("gave up", workers=workers, after_seconds=seconds)
        os._exit(1)

    threading.Thread(target=wait, name="gives up", daemon=True).start()


def _stop_on_signals(stop: threading.Event) -> None:
    """Signals are blocked and taken by a thread of their own: a handler would run in the middle of a log line."""
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)

    def wait() -> None:
        number = signal.sigwait(signals)
        stop.set()
        log.info("stopping", signal=signal.Signals(number).name)
        systemd.notify("STOPPING=1")
        signal.sigwait(signals)
        os._exit(130)

    threading.Thread(target=wait, name="signals", daemon=True).start()
