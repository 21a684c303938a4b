"""The supervisor: starts the daemon's workers, one thread each, ends them on a signal, and reads the settings again."""

import json
import os
import secrets
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Protocol

import mysql.connector
import structlog
from confluent_kafka import KafkaException

from outboxd import signals
from outboxd.daemon.agreement import Agreement
from outboxd.daemon.consumer import Consumer
from outboxd.daemon.database import Database, Failure
from outboxd.daemon.recovery import Recovery
from outboxd.daemon.relay import Relay
from outboxd.daemon.sampler import KafkaSampler, Sampler
from outboxd.daemon.watcher import Watcher
from outboxd.fleet import OF_A_DATABASE, Fleet
from outboxd.observe import metrics, systemd, tracing
from outboxd.observe.health import Health, Pulse
from outboxd.observe.http import Served, serving
from outboxd.observe.scope import working_for
from outboxd.schema.compatibility import SchemaError
from outboxd.settings import Settings, SettingsError

log = structlog.get_logger()
_AGAIN_SECONDS = 30.0
"""How long a database that has failed is left alone, where others are served."""


class _Worker(Protocol):
    """What a thread of the daemon runs."""

    def run(self) -> None:
        """Work until the stop."""


_Start = Callable[[Pulse], _Worker]


def run(fleet: Fleet, read_again: Callable[[], Fleet], *, relays: bool, consumers: bool) -> None:
    """Run until SIGTERM or SIGINT; a second signal ends the process at once, with exit code 130.

    SIGHUP lets read_again read the settings, and the databases come and go. Raises SettingsError if consumers have no
    topics or a fleet's no group, and, once no database can be served, the error of the first: SchemaError if its schema
    does not fit, or that of the worker that failed for good.
    """
    _check(fleet, consumers=consumers)
    common = fleet.common
    daemon = _Daemon(fleet, read_again, relays=relays, consumers=consumers)
    _on_signals(daemon)
    _give_up_in_time(daemon.stop, 2 * (common.stop_seconds + common.wait_ms / 1000))
    with serving(common, daemon.health) as served, tracing.starting():
        daemon.run(served)


def _check(fleet: Fleet, *, consumers: bool) -> None:
    common = fleet.common
    if not consumers:
        return
    if not any(settings.topics for settings in fleet.databases.values()):
        raise SettingsError("setting topics is missing: give --topics or OUTBOXD_TOPICS, or --only relay")
    if len(fleet.databases) > 1 and not common.group:
        raise SettingsError(
            "setting group is missing: the daemons that serve these databases share one consumer group, so name it, and"
            " use the name for no other databases"
        )
    if common.consumer_workers > 1 and "group.instance.id" in common.kafka_options:
        raise SettingsError(
            f"setting kafka_options: group.instance.id names one member of the group, and consumer_workers is"
            f" {common.consumer_workers}: run one worker, or unset it"
        )


class _Daemon:
    """The databases and the threads that work on them.

    Each database has relays of its own. The rest works for all of them, and is started anew when they change: watchers,
    recoveries and samplers, one of each for a server, and the consumers.
    """

    def __init__(self, fleet: Fleet, read_again: Callable[[], Fleet], *, relays: bool, consumers: bool) -> None:
        common = fleet.common
        self.stop = threading.Event()
        self.health = Health(self.stop, common.stall_seconds + common.wait_ms / 1000)
        self.changed = threading.Event()
        """Set when the supervisor has to look."""
        self.wants_reload = False
        self._fleet = fleet
        self._read_again = read_again
        self._has_relays = relays
        self._has_consumers = consumers
        # Never the name of an earlier process: what that one left in flight must not pass for this one's.
        self._me = f"{common.name}-{os.getpid()}-{secrets.token_hex(3)}"
        self._databases = {name: self._made(settings) for name, settings in fleet.databases.items()}
        self._relays: defaultdict[str, list[_Thread]] = defaultdict(list)
        self._of_all: list[_Thread] = []
        self._agreement: Agreement | None = None
        """That of the consumers; None: they are still to be started."""
        self._stop_of_all = threading.Event()
        self._ending: dict[_Thread, str] = {}
        """Threads that have to end, of the database of this name or of all."""
        self._told: set[Failure] = set()
        self._failure: Exception | None = None
        self._served = Served()

    # The life

    def run(self, served: Served) -> None:
        """Start, work until the stop or until no database can be served, and end; raises why, if that is no stop."""
        self._served = served
        self.health.tell("schema", "the schema is not checked yet: MySQL has not answered")
        watching = self._watchers()
        self._start(watching)
        while not (self._failure or self.stop.is_set() or self._is_ready):
            self._wait()
            self._look_after_failures()
        if not self._failure and not self.stop.is_set():
            self.health.tell_no_more("schema")
            self._of_all = watching + self._started_for_all()
            self._start_consumers()
            self._say_started()
            systemd.notify("READY=1")
            while not (self._failure or self.stop.is_set()):
                self._wait()
                self._look_after_failures()
                self._bury()
                self._start_consumers()
                self._start_relays()
                self._reload_if_asked()
            self.stop.set()
        has_started = bool(self._of_all)
        self._end([*watching, *self._of_all])
        if has_started:
            log.info("stopped", name=self._me)
        if self._failure:
            raise self._failure

    @property
    def _is_ready(self) -> bool:
        """Whether a database is known, and of all it is clear whether they answer."""
        databases = self._databases.values()
        return all(one.is_tried for one in databases) and any(one.is_known for one in databases)

    def _wait(self) -> None:
        self.changed.wait(systemd.watchdog_seconds() or 1)
        self.changed.clear()
        if self._of_all and not self.health.why_not_alive():
            systemd.notify("WATCHDOG=1")

    def _say_started(self) -> None:
        self._start_relays(is_start=True)
        known = [one for one in self._databases.values() if one.is_known]
        group = self._fleet.group([one.settings for one in known]).group
        log.info(
            "started",
            name=self._me,
            workers=self._workers(),
            **self._named([one.settings for one in known]),
            topics=sorted({topic for one in self._fleet.databases.values() for topic in one.topics})
            if self._has_consumers
            else None,
            group=group if self._has_consumers else None,
            metrics=self._served.address,
        )
        for one in self._databases.values():
            if not one.is_known and one.failure is None:
                log.warning("not served yet", database=one.name, reason="it does not answer")
        if self._served.problem:
            log.warning("no metrics", reason=self._served.problem)

    def _named(self, known: Sequence[Settings]) -> dict[str, Any]:
        if self._fleet.has_names:
            return {"databases": {settings.label: settings.source for settings in known}}
        return {"source": known[0].source}

    def _workers(self) -> list[str]:
        names = [thread.name for threads in [*self._relays.values(), self._of_all] for thread in threads]
        return list(dict.fromkeys(names))

    def _end(self, threads: Iterable["_Thread"]) -> None:
        self._stop_of_all.set()
        for database in self._databases.values():
            database.give_up()
        for thread in [*threads, *self._ending, *(one for relays in self._relays.values() for one in relays)]:
            while thread.is_alive():
                thread.join(systemd.watchdog_seconds() or 1)
                if not self.health.why_not_alive():
                    systemd.notify("WATCHDOG=1")

    # The threads

    def _made(self, settings: Settings, me: str = "") -> Database:
        names = [f"{me or self._me}-{number}" for number in range(settings.relay_workers)] if self._has_relays else []
        metrics.begin(settings.label)
        return Database(settings, names, self.changed, is_named=self._fleet.has_names)

    def _start(self, threads: Sequence["_Thread"]) -> None:
        for thread in threads:
            self.health.watch(thread.pulse)
            thread.start()

    def _start_relays(self, *, is_start: bool = False) -> None:
        """Start the relays of databases that are known and have none."""
        if not self._has_relays or self._would_send_in_vain():
            return
        for database in self._databases.values():
            if not database.is_known or database.failure or self._relays[database.name]:
                continue
            self._relays[database.name] = [
                _Thread(
                    f"relay-{number}",
                    partial(Relay, database, name),
                    partial(database.fail, f"relay-{number}"),
                    database.name,
                    Pulse(f"relay-{number}", database.name, named=database.is_named),
                )
                for number, name in enumerate(database.relays)
            ]
            self._start(self._relays[database.name])
            if not is_start:
                log.info("serves", database=database.name, source=database.settings.source)

    def _watchers(self) -> list["_Thread"]:
        return [
            self._thread(
                f"watcher{suffix}",
                partial(Watcher, self._has_relays, self._has_consumers, databases, self._stop_of_all),
            )
            for suffix, databases in self._by_server()
        ]

    def _started_for_all(self) -> list["_Thread"]:
        """Start what works for all databases, other than watchers and consumers."""
        stop = self._stop_of_all
        threads = []
        if self._has_relays:
            for suffix, databases in self._by_server():
                threads.append(self._thread(f"recovery{suffix}", partial(Recovery, databases, stop)))
        if self._served.address:
            for name in self._databases:
                self.health.tell(name, "nothing is sampled yet")
            for suffix, databases in self._by_server():
                threads.append(self._thread(f"sampler{suffix}", partial(Sampler, databases, self.health, stop)))
            self.health.tell("Kafka", "nothing is sampled yet")
            threads.append(
                self._thread("kafka-sampler", partial(KafkaSampler, self._any_settings(), self.health, stop))
            )
        self._start(threads)
        return threads

    def _would_send_in_vain(self) -> bool:
        """Whether consumers that do not know a new database, of before or of other daemons, may read its records."""
        if not self._has_consumers:
            return False
        return self._agreement is None or self._agreement.why_not_join() is not None

    def _start_consumers(self) -> None:
        """Start the consumers, once those of before have ended: a database by itself says what its group is."""
        databases = list(self._databases.values())
        known = [one.settings for one in databases if one.is_known]
        if not self._has_consumers or self._agreement or not (known or len(databases) > 1):
            return
        if any(thread.name.startswith("consumer-") for thread in self._ending):
            return
        settings = self._fleet.group(known)
        self._agreement = Agreement(settings, is_fleet=self._fleet.has_names)
        start = partial(Consumer, settings, databases, self._agreement, self.health, self._stop_of_all)
        threads = [self._thread(f"consumer-{number}", start) for number in range(settings.consumer_workers)]
        self._start(threads)
        self._of_all += threads

    def _thread(self, name: str, start: _Start) -> "_Thread":
        scope = next(iter(self._databases)) if len(self._databases) == 1 else ""
        return _Thread(name, start, partial(self._fail, name), scope, Pulse(name))

    def _by_server(self) -> list[tuple[str, list[Database]]]:
        """The databases that can share a connection, and what the names of their workers end in."""
        servers: defaultdict[str, list[Database]] = defaultdict(list)
        for database in self._databases.values():
            arguments = database.given.mysql_arguments() | {"database": None}
            servers[json.dumps(arguments, sort_keys=True, default=str)].append(database)
        if len(servers) == 1:
            return [("", next(iter(servers.values())))]
        return [(f"-{number}", databases) for number, databases in enumerate(servers.values())]

    def _any_settings(self) -> Settings:
        """Those of the only database, or what holds for all."""
        databases = list(self._databases.values())
        return databases[0].settings if len(databases) == 1 else self._fleet.common

    # What happens

    def _fail(self, worker: str, error: Exception) -> None:
        """A worker that all databases need has failed for good."""
        if self._failure is None:
            _log_failure(worker, error)
            self._failure = error
        self.changed.set()

    def _look_after_failures(self) -> None:
        """Try databases again that have failed a while ago; the daemon fails with the last that it could serve."""
        failed = {one: one.failure for one in self._databases.values() if one.failure}
        is_end = len(failed) == len(self._databases)
        for one, failure in failed.items():
            if failure not in self._told and (self._of_all or not is_end):
                self._told.add(failure)
                with working_for(one.name):
                    again = {} if is_end else {"again_in_seconds": _AGAIN_SECONDS}
                    _log_failure(failure.worker, failure.error, **again)
            if is_end:
                self.health.fails(f"{failure.worker} failed: {failure.error}")
                self._failure = self._failure or failure.error
                continue
            self.health.tell(one.name, f"{one.name}: {failure.worker} failed: {failure.error}")
            relays = self._relays[one.name]
            self.health.forget(*(thread.pulse for thread in relays))
            if time.monotonic() - failure.at >= _AGAIN_SECONDS and not any(thread.is_alive() for thread in relays):
                self._relays[one.name] = []
                self.health.tell(one.name, None)
                one.begin_again()

    def _reload_if_asked(self) -> None:
        if not self.wants_reload:
            return
        self.wants_reload = False
        systemd.notify(systemd.reloading())
        try:
            fleet = self._read_again()
            _check(fleet, consumers=self._has_consumers)
            self._check_that_it_can_change(fleet)
        except SettingsError as error:
            log.error("not reloaded", reason=str(error))
        else:
            self._change(fleet)
        systemd.notify("READY=1")

    def _check_that_it_can_change(self, fleet: Fleet) -> None:
        """Raise SettingsError where a setting has changed that holds for the whole daemon."""
        of_databases = {*OF_A_DATABASE, "databases"}
        for name in Settings.model_fields:
            if name not in of_databases and getattr(fleet.common, name) != getattr(self._fleet.common, name):
                raise SettingsError(f"setting {name} holds for the whole daemon: restart it, or set {name} back")

    def _change(self, fleet: Fleet) -> None:
        """Serve these databases from now on; relays of those that stay as they were work on meanwhile.

        One that has failed is begun anew: its schema may fit by now.
        """
        before, now = self._fleet.databases, fleet.databases
        self._fleet = fleet
        served = {name for name in now if name in before and not self._databases[name].failure}
        same = {name for name in served if now[name].model_dump() == before[name].model_dump()}
        gone, new = [name for name in before if name not in same], [name for name in now if name not in same]
        if gone or new or list(before) != list(now):
            for name in gone:
                self._databases.pop(name).give_up()
                self._let_end(self._relays.pop(name, []), name)
                self.health.tell_no_more(name)
            self._stop_of_all.set()
            self._let_end(self._of_all)
            self._stop_of_all = threading.Event()
            again = f"{self._me}-{secrets.token_hex(2)}"  # not the names of relays that are about to end
            made = {name: self._made(now[name], again) for name in new}
            self._databases = {name: made.get(name) or self._databases[name] for name in now}
            watching = self._watchers()
            self._start(watching)
            self._of_all = watching + self._started_for_all()
            self._agreement = None
        log.info("reloaded", databases=list(now), new=new, gone=gone)

    def _let_end(self, threads: Sequence["_Thread"], name: str = "") -> None:
        """Threads that were told to end are nobody's worry, until they have."""
        self.health.forget(*(thread.pulse for thread in threads))
        self._ending |= dict.fromkeys(threads, name)

    def _bury(self) -> None:
        """Forget the threads that have ended; with the last one of a database that is gone its series end."""
        ended = {thread: name for thread, name in self._ending.items() if not thread.is_alive()}
        for thread, name in ended.items():
            del self._ending[thread]
            if name and name not in self._databases and name not in self._ending.values():
                metrics.end(name)


class _Thread(threading.Thread):
    """A worker's thread; `failed` gets the error of one that fails for good."""

    def __init__(
        self, name: str, start: _Start, failed: Callable[[Exception], None], database: str, pulse: Pulse
    ) -> None:
        """`database` is the one that its log lines and metrics are of, if it is one."""
        super().__init__(name=name)
        self.pulse = pulse
        self._database = database
        self._start_worker = start
        self._failed = failed

    def run(self) -> None:
        with working_for(self._database, worker=self.name):
            try:
                self._start_worker(self.pulse).run()
            except Exception as error:
                self.pulse.failure = error
                self._failed(error)
            finally:
                self.pulse.has_ended = True


def _log_failure(worker: str, error: Exception, **members: Any) -> None:
    is_explained = isinstance(error, mysql.connector.Error | KafkaException | SettingsError | SchemaError)
    said = f"Kafka: {error.args[0].str()}" if isinstance(error, KafkaException) else str(error)
    log.error("failed", worker=worker, error=said, exc_info=None if is_explained else error, **members)


def _give_up_in_time(stop: threading.Event, seconds: float) -> None:
    """End the process that long after the stop: a worker may hang in a server that does not answer."""

    def wait() -> None:
        stop.wait()
        time.sleep(seconds)
        workers = [thread.name for thread in threading.enumerate() if isinstance(thread, _Thread)]
        log.error("gave up", workers=workers, after_seconds=seconds)
        os._exit(1)

    threading.Thread(target=wait, name="gives up", daemon=True).start()


def _on_signals(daemon: _Daemon) -> None:
    def end(number: signal.Signals) -> None:
        if daemon.stop.is_set():
            os._exit(130)
        daemon.stop.set()
        daemon.changed.set()
        log.info("stopping", signal=number.name)
        systemd.notify("STOPPING=1")

    def reload() -> None:
        daemon.wants_reload = True
        daemon.changed.set()

    signals.call_on_ending(end, reload)
