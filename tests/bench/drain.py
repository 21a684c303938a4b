"""One run of the daemon over a backlog, watched without disturbing it."""

import time
from dataclasses import dataclass

from tests.bench import cpu, daemon
from tests.bench.stage import DATABASE, BenchError, Stage
from tests.kit.session import Session

_POLL_S = 0.02
_STALLED_AFTER_S = 60.0


@dataclass(frozen=True, slots=True)
class Drain:
    """What one run took; times in seconds since its start: of the daemons, or where they waited of the backlog.

    steady_per_s is the rate from the first rows in chat_histories to the last, those first rows not counted.
    """

    messages: int
    processes: int
    first_published: float
    last_written: float
    steady_per_s: float
    peak_rss: int
    cores: dict[str, float]
    sync_share: float

    @property
    def per_s(self) -> float:
        """Messages per second over the whole time."""
        return self.messages / self.last_written

    @property
    def running_per_s(self) -> float:
        """Messages per second since the first was published."""
        return self.messages / (self.last_written - self.first_published)


@dataclass(slots=True)
class _Progress:
    """Rows changed since the tables were cleared, as performance_schema counts them: a look costs next to nothing.

    It counts statements' work before their commit, so the end is confirmed by counting rows.
    """

    published: int
    written: int


def run(stage: Stage, messages: int, processes: int = 1, *, waiting: bool = False) -> Drain:
    """Drain a backlog with new daemons, or with daemons that wait for it, and watch them to the last row.

    Raises BenchError where nothing moves for a minute, or where not every message arrives exactly once.
    """
    stage.clear()
    topic = stage.new_topic()
    if not waiting:
        stage.fill(messages, topic)
    with daemon.run(stage, topic, processes) as daemons:
        started_at = daemons.started_at
        if waiting:
            daemons.wait_until_shared()
            stage.fill(messages, topic)
            started_at = time.monotonic()
        with stage.connect() as session:
            return watch(session, daemons, messages, started_at)


def watch(session: Session, daemons: daemon.Daemons, messages: int, started_at: float) -> Drain:
    """Watch until so many messages are consumed; see run()."""
    servers = {"mysqld": [daemons.stage.mysql.pid], "kafka": [daemons.stage.kafka.pid]}
    groups = {**servers, "daemons": daemons.pids}
    moment, syncs = cpu.now(groups), _sync_seconds(session)
    first_published: float | None = None
    first_rows: tuple[float, int] | None = None
    last, moved_at = _Progress(0, 0), time.monotonic()
    while last.written < messages or _rows(session) < messages:
        time.sleep(_POLL_S)
        daemons.check()
        progress, now = _progress(session), time.monotonic()
        if first_published is None and progress.published:
            first_published, moment, syncs = now, cpu.now(groups), _sync_seconds(session)
        if first_rows is None and progress.written:
            first_rows = now, progress.written
        if progress != last:
            last, moved_at = progress, now
        elif now - moved_at > _STALLED_AFTER_S:
            raise BenchError(f"nothing moved for {_STALLED_AFTER_S:.0f} s: {_counts(session)}")
    ended = cpu.now(groups)
    syncs = _sync_seconds(session) - syncs
    rows, counts = _rows(session), _counts(session)
    if rows != messages or counts != {"consumed": messages}:
        raise BenchError(f"{messages} messages became {rows} rows, and in the outbox {counts}")
    since, written = first_rows or (ended.at, messages)
    return Drain(
        messages=messages,
        processes=len(daemons.processes),
        first_published=(first_published or ended.at) - started_at,
        last_written=ended.at - started_at,
        steady_per_s=(messages - written) / max(ended.at - since, _POLL_S),
        peak_rss=daemons.peak_rss,
        cores=moment.cores_until(ended),
        sync_share=syncs / (ended.at - moment.at),
    )


def _progress(session: Session) -> _Progress:
    rows = session.rows(
        "SELECT object_name AS name, count_insert, count_update"
        " FROM performance_schema.table_io_waits_summary_by_table"
        " WHERE object_type = 'TABLE' AND object_schema = %s"
        " AND object_name IN ('agent_outbox_messages', 'chat_histories')",
        DATABASE,
    )
    counts = {row["name"]: row for row in rows}
    updates = counts.get("agent_outbox_messages", {}).get("count_update", 0)
    inserts = counts.get("chat_histories", {}).get("count_insert", 0)
    return _Progress(int(updates), int(inserts))


def _sync_seconds(session: Session) -> float:
    """Time that sessions have spent syncing the redo log and the binary log, as performance_schema counts it."""
    return float(
        session.value(
            "SELECT SUM(sum_timer_misc) / 1e12 FROM performance_schema.file_summary_by_event_name"
            " WHERE event_name IN ('wait/io/file/innodb/innodb_log_file', 'wait/io/file/sql/binlog')"
        )
    )


def _rows(session: Session) -> int:
    return int(session.value("SELECT COUNT(*) FROM chat_histories"))


def _counts(session: Session) -> dict[str, int]:
    rows = session.rows("SELECT status, COUNT(*) AS messages FROM agent_outbox_messages GROUP BY status")
    return {row["status"]: row["messages"] for row in rows}
