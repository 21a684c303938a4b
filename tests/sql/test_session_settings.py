"""A caller's session settings change nothing: every public procedure under each of them, results compared."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from mysql.connector.errors import Error

from tests.kit.application import RECORD, Application
from tests.kit.operators import age, fill
from tests.kit.server import Connect
from tests.kit.session import CHAT, Session, as_text, chat_payload

SETTINGS = {
    "sql_mode: none": "sql_mode = ''",
    "sql_mode: ANSI": "sql_mode = 'ANSI'",
    "sql_mode: strict": "sql_mode = 'TRADITIONAL,NO_BACKSLASH_ESCAPES,HIGH_NOT_PRECEDENCE,PAD_CHAR_TO_FULL_LENGTH'",
    "sql_mode: odd": "sql_mode = 'NO_UNSIGNED_SUBTRACTION,PIPES_AS_CONCAT,IGNORE_SPACE,NO_AUTO_VALUE_ON_ZERO,"
    "TIME_TRUNCATE_FRACTIONAL'",
    "autocommit = 0": "autocommit = 0",
    "completion_type = 1": "completion_type = 1",
    "completion_type = 2": "completion_type = 2",
    "completion_type = 1 without autocommit": "autocommit = 0, completion_type = 1",
    "READ UNCOMMITTED": "transaction_isolation = 'READ-UNCOMMITTED'",
    "REPEATABLE READ": "transaction_isolation = 'REPEATABLE-READ'",
    "SERIALIZABLE": "transaction_isolation = 'SERIALIZABLE'",
    "SERIALIZABLE without autocommit": "autocommit = 0, transaction_isolation = 'SERIALIZABLE'",
    "sql_select_limit": "sql_select_limit = 1",
    "far east": "time_zone = '+13:00'",
    "far west": "time_zone = '-11:00'",
    "optimizer_switch: off": "optimizer_switch = 'index_merge=off,index_condition_pushdown=off,mrr=off,"
    "block_nested_loop=off,materialization=off,semijoin=off,loosescan=off,firstmatch=off,"
    "duplicateweedout=off,derived_merge=off,skip_scan=off,hash_join=off,"
    "derived_condition_pushdown=off,subquery_to_derived=off,prefer_ordering_index=off,"
    "hypergraph_optimizer=off'",
    "optimizer_switch: on": "optimizer_switch = 'mrr=on,mrr_cost_based=off,batched_key_access=on,"
    "use_invisible_indexes=on,subquery_to_derived=on'",
    "optimizer_search_depth": "optimizer_search_depth = 1, optimizer_prune_level = 0, eq_range_index_dive_limit = 1",
    "range_optimizer_max_mem_size": "range_optimizer_max_mem_size = 1, max_seeks_for_key = 1",
    "sql_safe_updates": "sql_safe_updates = 1",
    "sql_big_selects": "max_join_size = 1000, sql_big_selects = 0",
    "as mysql --safe-updates": "sql_safe_updates = 1, sql_select_limit = 1000, max_join_size = 1000000",
    "character sets": "character_set_client = latin1, character_set_connection = latin1",
    "results in bytes": "character_set_results = NULL",
    "collation": "collation_connection = utf8mb4_general_ci",
    "utf16": "character_set_connection = utf16",
    "collation of the database": "collation_database = latin1_swedish_ci",
    "group_concat_max_len": "group_concat_max_len = 4",
    "div_precision_increment = 0": "div_precision_increment = 0",
    "div_precision_increment = 30": "div_precision_increment = 30",
    "max_sort_length": "max_sort_length = 4",
    "small buffers": "sort_buffer_size = 32768, join_buffer_size = 128, read_buffer_size = 8192,"
    " tmp_table_size = 1024, max_heap_table_size = 16384",
    "memory tables": "internal_tmp_mem_storage_engine = MEMORY, big_tables = 1",
    "old tables": "default_storage_engine = MyISAM, default_tmp_storage_engine = MyISAM",
    "sql_require_primary_key": "sql_require_primary_key = 1",
    "sql_generate_invisible_primary_key": "sql_generate_invisible_primary_key = 1",
    "sql_auto_is_null": "sql_auto_is_null = 1",
    "sql_buffer_result": "sql_buffer_result = 1",
    "no checks": "foreign_key_checks = 0, unique_checks = 0",
    "languages": "lc_time_names = 'de_DE', lc_messages = 'de_DE', default_week_format = 7",
    "max_error_count = 0": "max_error_count = 0",
    "max_execution_time": "max_execution_time = 1",
    "cte_max_recursion_depth": "cte_max_recursion_depth = 0",
    "auto_increment_increment": "auto_increment_increment = 7, auto_increment_offset = 3",
    "explicit_defaults_for_timestamp": "explicit_defaults_for_timestamp = 0",
    "updatable_views_with_limit": "updatable_views_with_limit = 'NO', windowing_use_high_precision = OFF",
    "end_markers_in_json": "end_markers_in_json = ON, optimizer_trace = 'enabled=on'",
    "session_track": "session_track_transaction_info = 'CHARACTERISTICS', session_track_state_change = ON",
    "short waits": "lock_wait_timeout = 1, innodb_lock_wait_timeout = 1",
    "binlog: MIXED": "binlog_format = 'MIXED'",
    "binlog: NOBLOB": "binlog_row_image = 'NOBLOB', binlog_row_value_options = 'PARTIAL_JSON'",
}
OWN_TABLES = {
    "its own outbox_batch": "CREATE TEMPORARY TABLE outbox_batch (id INT) ENGINE = MyISAM",
}
Result = list[tuple[str, Any]]

IN_BULK = "INSERT INTO app_effects (message, payload) SELECT id, 'in bulk' FROM outbox_batch WHERE outcome = 'offered'"
FAILS = f"{RECORD}; SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not today'"


_IDS = {"id", "message_id", "message", "last_id", "to_id", "from_id", "first_id"}


class Script:
    """Calls every public procedure in one session, and keeps what each answers, with ids and times made comparable."""

    def __init__(self, db: Session, session: Session) -> None:
        self.results: Result = []
        self.called: set[str] = set()
        self._db = db
        self._session = session
        self._ids: dict[int, str] = {}
        self._autocommit = bool(session.value("SELECT @@autocommit"))

    def call(self, name: str, *arguments: Any, out: bool = False) -> Any:
        """Call a procedure; the last parameter is OUT where that is said. Returns what it answers, an error too."""
        self.called.add(name)
        places = ", ".join(["%s"] * len(arguments) + ["@out"] * out)
        try:
            rows = self._session.rows(f"CALL {name}({places})", *arguments)
            answer = self._session.value("SELECT @out") if out else rows
            if not self._autocommit:
                self._session.execute("COMMIT AND NO CHAIN NO RELEASE")
            if self._session.in_transaction():
                self._session.execute("ROLLBACK AND NO CHAIN NO RELEASE")
                rows, answer = [], "left a transaction open"
        except Error as error:
            rows, answer = [], (error.errno, error.msg)
            if not self._autocommit:
                self._session.execute("ROLLBACK AND NO CHAIN NO RELEASE")
        self.results.append((name, self._comparable([rows, answer] if out else answer)))
        return answer

    def enqueue(self, key: str, biz_type: str = CHAT, payload: str | None = None) -> int:
        """Enqueue by the procedure, and give the id a name."""
        id_ = self.call("outbox_enqueue_v1", biz_type, "chat", key, payload or chat_payload(key), None, out=True)
        return self.known(id_, f"{biz_type} {key}")

    def known(self, id_: Any, name: str) -> int:
        """Give an id a name, by which it is compared."""
        if isinstance(id_, int):
            self._ids.setdefault(id_, f"<{name}>")
            self.results[-1] = (self.results[-1][0], self._ids[id_])
            return id_
        return 0

    def claim(self, limit: int | None) -> list[dict[str, Any]]:
        """Claim; return what the marks want back."""
        # What is new waits while ids before it are missing, and with auto_increment_increment they are.
        self._db.execute(
            "UPDATE agent_outbox_messages SET next_retry_at = created_at - INTERVAL 1 SECOND,"
            " created_at = created_at - INTERVAL 1 SECOND WHERE status = 'pending' AND next_retry_at = created_at"
        )
        rows = self.call("outbox_claim_v1", "relay-a", limit, None, 0)
        if not isinstance(rows, list):
            return []
        return [{"id": row["id"], "receipt": as_text(row["receipt"]), "reason": "refused"} for row in rows]

    def look(self, name: str, sql: str, *, from_outside: bool = False) -> None:
        """Compare also what a view has, seen from this session, or a table, seen from another one."""
        session = self._db if from_outside else self._session
        try:
            session.execute("SET SESSION max_execution_time = 0")
            answer: Any = session.rows(sql)
        except Error as error:
            answer = (error.errno, error.msg)
        comparable = self._comparable(answer)
        self.results.append((name, comparable if from_outside else sorted(comparable, key=str)))

    def _comparable(self, value: Any, name: str = "") -> Any:
        match value:
            case bytes() | bytearray():
                found = self._comparable(value.decode(), name)
            case dict():
                found = {key: self._comparable(one, key) for key, one in value.items()}
            case list() | tuple():
                found = [self._comparable(one) for one in value]
            case datetime():
                # In hours from now by this server's clock: times of a wrong zone are off by many.
                found = f"{round((value - self._db.value('SELECT UTC_TIMESTAMP(6)')) / timedelta(hours=1))} h"
            case Decimal() | float() if name.endswith("_seconds"):
                found = f"{round(value / 3600)} h"
            case int() if name in _IDS:
                found = self._ids.get(value, "<another>")
            case str() if name == "details":
                found = self._comparable(json.loads(value))
            case str():
                text = re.sub(r"[0-9a-f]{8}(-[0-9a-f-]{27})?", "<uuid>", value)
                text = re.sub(r"message (\d+)", lambda found: f"message {self._ids.get(int(found[1]), '?')}", text)
                found = re.sub(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?", "<time>", text)
            case _:
                found = value
        return found


@dataclass(frozen=True, slots=True)
class Messages:
    """What the applications have enqueued."""

    first: list[int]
    ordered: list[int]
    free: int
    fails: list[int]
    only: int
    chat: int


def play(script: Script, db: Session) -> None:
    """The life of some messages, by every public procedure."""
    policies(script)
    messages = applications(script)
    relay(script, messages)
    consumer(script, db, messages)
    operators(script, db, messages)
    many(script, db)
    views(script)
    script.call("outbox_leave_v1", "relay-a")
    script.call("outbox_new_identity_v1")
    script.call("outbox_set_transaction_bytes_v1", None)
    script.call("outbox_set_max_payload_bytes_v1", 70_000)
    tables(script)


def policies(script: Script) -> None:
    """What an application's migration registers, and an operator pauses."""
    call = script.call
    call("outbox_version_v1", out=True)
    call("outbox_installed_v1")
    call("outbox_identity_v1")
    call("outbox_retry_backoff_v1", 3, out=True)
    call("outbox_register_biz_type_v1", "ordered", "app_records", None, None, None, None)
    call("outbox_register_biz_type_v1", "free", "app_records", "none", 3, 2, 600)
    call("outbox_register_biz_type_v1", "fails", "app_fails", None, None, None, None)
    call("outbox_register_biz_type_v1", "publish-only", None, None, None, None, None)
    call("outbox_register_batch_handler_v1", "ordered", "app_in_bulk")
    call("outbox_register_biz_type_v1", "nobody's", "no_such_procedure", None, None, None, None)
    call("outbox_register_bytes_v1", "free", True)
    call("outbox_subscribe_v1", "/outboxd/s_op/%", "order%", "ordered")
    call("outbox_subscribe_v1", "kafka:events", "%", "free")
    call("outbox_list_subscriptions_v1", None)
    call("outbox_pause_v1", "paused", None)
    call("outbox_pause_v1", None, "ordered")
    call("outbox_doctor_v1")


def applications(script: Script) -> Messages:
    """Enqueue messages of every kind."""
    call = script.call
    first = [script.enqueue(key) for key in ("a", "b", "b", "c")]
    ordered = [script.enqueue("d", "ordered", '{"n": 1}'), script.enqueue("d", "ordered", '{"n": 2}')]
    free = script.enqueue("b", "free", '"x"')
    fails = [script.enqueue("e", "fails", "1"), script.enqueue("e", "fails", "2")]
    only = script.enqueue("f", "publish-only", "[]")
    options = '{"max_retry": 5, "headers": {"traceparent": "00-1"}, "delay_seconds": 7200}'
    delayed = ("publish-only", "paused", "g", "{}", options)
    script.known(call("outbox_enqueue_with_options_v1", *delayed, out=True), "delayed")
    chat = script.known(
        call("outbox_enqueue_chat_history_v1", "chat", "h", 7, "c-1", "user", "it's", 3, out=True), "chat"
    )
    for key in ("i", "j"):
        once = ("publish-only", "paused", key, "{}", '{"dedup_key": "once", "delay_seconds": 7200}')
        (row,) = call("outbox_enqueue_returning_v1", *once) or [{"id": 0}]
        script.known(row["id"], "once")
    tombstone = ("publish-only", "paused", "g", None, None, '{"delay_seconds": 7200}')
    script.known(call("outbox_enqueue_bytes_v1", *tombstone, out=True), "tombstone")
    element: dict[str, Any] = {"biz_type": "publish-only", "topic": "paused", "key": "l", "payload": {"b": 1, "a": 2}}
    element["delay_seconds"] = 7200
    for batch in (
        [element, element | {"dedup_key": "another"}, element | {"dedup_key": "once"}],
        [element | {"deliver_at": "2100-01-01 00:00:00", "delay_seconds": None}, element | {"payload": '{"b": 1.10}'}],
        [element, element | {"topic": ""}],
    ):
        call("outbox_enqueue_batch_v1", json.dumps(batch), out=True)
    call("outbox_wait_v1", first[0], 20, out=True)
    call("outbox_enqueue_v1", "t", "chat", "k", "no JSON", None, out=True)
    call("outbox_enqueue_v1", "t", "", "k", "{}", None, out=True)
    call("outbox_get_v1", first[0])
    call("outbox_list_due_v1", 3)
    return Messages(first, ordered, free, fails, only, chat)


def relay(script: Script, messages: Messages) -> None:
    """A relay's rounds."""
    call = script.call
    script.claim(1)
    script.claim(3)
    call("outbox_resume_v1", None, "ordered")
    call("outbox_claim_more_v1", "relay-b", 3, 0)
    call("outbox_heartbeat_v1", "relay-a", 30)
    call("outbox_slots_owned_v1", "relay-a", out=True)
    claimed = script.claim(None)
    call("outbox_mark_failed_batch_v1", "relay-a", json.dumps(claimed[:1]), out=True)
    call("outbox_mark_dead_batch_v1", "relay-a", json.dumps(claimed[1:2]), out=True)
    call("outbox_mark_published_batch_v1", "relay-a", json.dumps(claimed[2:-1]), out=True)
    call("outbox_mark_published_v1", messages.chat)
    call("outbox_mark_published_v1", 999_999)
    call("outbox_lag_v1", None)
    call("outbox_lock_waits_v1")
    call("outbox_status_v1")


def consumer(script: Script, db: Session, messages: Messages) -> None:
    """A consumer's batch, twice, and what consumers of the legacy service call."""
    call, (first, fails) = script.call, (messages.first, messages.fails)
    batch = [*first[2:], *messages.ordered, messages.free, *fails, messages.only, messages.chat, first[1]]
    records = json.dumps([db.record(id_) for id_ in sorted(batch)])
    call("outbox_recognize_v1", records)
    call("outbox_consume_v1", records)
    call("outbox_consume_v1", records)
    origin = {"source": "/outboxd/s_op/1", "type": "order", "topic": "t", "partition": 0, "offset": 1, "payload": "{}"}
    events = [origin | {"id": str(number), "payload": payload} for number, payload in enumerate(("{}", "[1.10]", "no"))]
    events += [events[0], {"source": "kafka:events", "id": "0:1", "topic": "t", "key": "K", "bytes": "AAAA"}]
    call("outbox_receive_v1", json.dumps([*events, origin | {"id": "9", "source": "/outboxd/shop/1"}]))
    call("outbox_inbox_v1")
    call("outbox_unsubscribe_v1", "kafka:events", "%")
    call("outbox_persist_chat_history_v1", first[0], payload_of(db, first[0]))
    call("outbox_persist_chat_history_v1", first[0], "no JSON")
    call("outbox_mark_failed_v1", fails[0], "x" * 3000)
    call("outbox_mark_dead_v1", fails[1], "enough")


def operators(script: Script, db: Session, messages: Messages) -> None:
    """What operators do with a few."""
    call, (first, fails) = script.call, (messages.first, messages.fails)
    lost = script.enqueue("i")
    call("outbox_mark_published_v1", lost)
    age(db, lost, 60)
    call("outbox_recover_published_v1", 30, None, out=True)
    call("outbox_list_failures_v1", fails[0])
    call("outbox_summarize_dead_v1", "nowhere", None, None, None, None, 10)
    call("outbox_list_dead_v1", "chat", None, None, None, None, None, 10)
    call("outbox_count_v1", "dead", None, None, None, "%ref%", None, None, None, out=True)
    call("outbox_count_v1", "consumed", "chat", CHAT, None, None, None, None, None, out=True)
    call("outbox_requeue_v1", first[1], out=True)
    call("outbox_requeue_dead_v1", None, "fails", None, None, None, None, None, out=True)
    call("outbox_mark_dead_v1", fails[0], "enough")
    call("outbox_mark_dead_v1", fails[1], "enough")
    call("outbox_discard_v1", fails[0], out=True)
    call("outbox_discard_dead_v1", None, None, None, None, None, None, out=True)
    failing = script.enqueue("f", "fails")
    call("outbox_mark_failed_v1", failing, "it is away")
    call("outbox_list_failing_v1", None, "fails", None, None, None, None, None)
    call("outbox_lane_v1", "chat", "k", 10)
    call("outbox_find_v1", "chat", "fails", None, "pending", None, None, None, None, True, None, 10, out=True)
    call("outbox_find_v1", "chat", None, "k", None, 1, None, "2020-01-01", None, False, None, 10, out=True)
    call("outbox_retry_v1", failing, out=True)
    call("outbox_retry_failing_v1", None, "fails", None, None, None, None, out=True)
    call("outbox_give_up_v1", failing, "enough", out=True)
    call("outbox_give_up_failing_v1", None, "fails", None, None, None, None, None, out=True)
    call("outbox_replay_v1", None, first[2], CHAT, "chat", None, out=True)


def many(script: Script, db: Session) -> None:
    """What operators do with more messages than the limits of the settings."""
    call = script.call
    fill(db, 1500, "consumed", age_seconds=7200)
    fill(db, 1200, "dead", age_seconds=7200)
    before = db.value("SELECT CAST(UTC_TIMESTAMP(6) - INTERVAL 1 HOUR AS CHAR)")
    call("outbox_count_v1", "dead", None, None, None, None, before, None, None, out=True)
    call("outbox_list_dead_v1", None, None, None, None, None, None, 2)
    call("outbox_status_v1")
    call("outbox_lag_v1", 500)
    call("outbox_purge_v1", before, 1400)
    call("outbox_purge_dead_v1", before, 1100)
    call("outbox_purge_dedup_keys_v1", db.value("SELECT CAST(UTC_TIMESTAMP(6) AS CHAR)"), 1)
    call("outbox_retain_v1", 3600, 1)
    call("outbox_delete_biz_type_v1", "fails")
    call("outbox_delete_biz_type_v1", "none")
    script.claim(5)
    # Last: it is over a second later, when a claim finds no message of that topic.
    call("outbox_mark_topics_unavailable_v1", '[{"topic": "away", "reason": "no leader"}]')


def views(script: Script) -> None:
    """All views, in the session."""
    # A caller's own SELECT is the caller's: only its own limits let it see all of a view.
    everything = "SELECT /*+ SET_VAR(sql_big_selects = 1) */ {} FROM {} LIMIT 1000000"
    for view, columns in {
        "outbox_status": "*",
        "outbox_relays_status": "*",
        "outbox_policies": "*",
        "outbox_dead_letters": "*",
        "outbox_failing": "*",
        "outbox_topics_unavailable": "*",
        "outbox_audit_log": "at, account, action, messages, details",
    }.items():
        script.look(view, everything.format(columns, view))


def tables(script: Script) -> None:
    """All tables, in the end."""
    for table, columns in {
        "messages": "SELECT * FROM agent_outbox_messages WHERE payload <> '{}' ORDER BY id",
        "chats": "SELECT user_id, chat_id, role, message_content, created_at FROM chat_histories ORDER BY id",
        "effects": "SELECT message, payload FROM app_effects ORDER BY id",
        "dedup keys": "SELECT * FROM outbox_dedup_keys ORDER BY dedup_key",
        "subscriptions": "SELECT * FROM outbox_subscriptions ORDER BY source",
        "types": "SELECT * FROM outbox_biz_types ORDER BY biz_type",
        "pauses": "SELECT * FROM outbox_pauses ORDER BY kind, name",
        "failures": "SELECT f.* FROM outbox_failures AS f ORDER BY message_id, failure",
        "audit": "SELECT at, account, action, details FROM outbox_audit ORDER BY id",
        "relays": "SELECT relay FROM outbox_relays",
        "slots": "SELECT relay, COUNT(*) FROM outbox_slots GROUP BY relay",
    }.items():
        script.look(table, columns, from_outside=True)


def payload_of(db: Session, message: int) -> str:
    return str(db.value("SELECT MAX(payload) FROM agent_outbox_messages WHERE id = %s", message))


Play = Callable[[str], Script]


@pytest.fixture
def in_session_with(db: Session, app: Application, connect: Connect) -> Iterator[Play]:
    """Play the script in a session after this statement."""
    app.handler(name="app_records")
    app.handler(FAILS, name="app_fails")
    app.handler(
        f"IF NOT p_is_check THEN {IN_BULK} ORDER BY id; END IF", parameters="IN p_is_check BOOLEAN", name="app_in_bulk"
    )

    def in_session(statement: str) -> Script:
        db.clean()
        db.execute("TRUNCATE agent_outbox_messages; TRUNCATE app_effects; DELETE FROM outbox_audit")
        with connect() as session:
            session.execute(statement)
            script = Script(db, session)
            play(script, db)
        return script

    yield in_session
    db.clean()


def differences(one: Result, other: Result) -> list[str]:
    assert [name for name, _ in one] == [name for name, _ in other]
    return [
        f"{number} {name}: {was} became {now}"
        for number, ((name, was), (_, now)) in enumerate(zip(one, other, strict=True))
        if was != now
    ]


def test_every_public_procedure_is_called(db: Session, in_session_with: Play) -> None:
    public = set(
        db.column(
            "SELECT routine_name FROM information_schema.routines WHERE routine_schema = DATABASE()"
            " AND routine_name LIKE 'outbox\\_%' AND routine_name NOT LIKE 'outbox\\_internal\\_%'"
        )
    )
    assert in_session_with("DO 0").called == public


@pytest.fixture(scope="module")
def without_a_setting() -> dict[str, Result]:
    """Keeps what the script answers where no setting is changed."""
    return {}


@pytest.mark.parametrize("name", ["nothing", *SETTINGS, *OWN_TABLES])
def test_no_setting_of_the_callers_session_changes_anything(
    in_session_with: Play, without_a_setting: dict[str, Result], name: str
) -> None:
    if not without_a_setting:
        without_a_setting["results"] = in_session_with("DO 0").results
    statements = {one: f"SET SESSION {text.replace(', ', ', SESSION ')}" for one, text in SETTINGS.items()} | OWN_TABLES
    found = in_session_with(statements.get(name, "DO 0")).results
    assert "\n".join(differences(without_a_setting["results"], found)) == ""
