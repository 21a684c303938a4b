"""SQL injection through the parameters of the procedures: each text of each of them, as the server lists them."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from mysql.connector.errors import Error

from tests.kit.session import CHAT, Session, chat_payload
from tests.security import bystanders, hostile

_TEXT_TYPES = ("char", "varchar", "tinytext", "text", "mediumtext", "longtext", "json")

# What a parameter is given while another one of the procedure is tried; a new name must be entered here.
_HARMLESS: dict[str, Any] = {
    "p_action": "none",
    "p_after": 0,
    "p_after_id": None,
    "p_first": None,
    "p_findings": "[]",
    "p_keep_seconds": 864_000,
    "p_kind": "relays",
    "p_level": "ok",
    "p_to_do": None,
    "p_what": "none",
    "p_has_joined": 0,
    "p_notes": None,
    "p_outcome": "offered",
    "p_parks": 1,
    "p_policies": None,
    "p_settled": None,
    "p_to": 1,
    "p_young": None,
    "p_at": "2026-01-01",
    "p_stage": "relay",
    "p_is_newest_first": 1,
    "p_past_id": None,
    "p_below_id": None,
    "p_from_at": None,
    "p_to_at": None,
    "p_start": "2026-01-01",
    "p_done": 0,
    "p_named": None,
    "p_audit_id": None,
    "p_backoff_base_seconds": None,
    "p_base_seconds": 1,
    "p_batch_handler": None,
    "p_cap_seconds": 32,
    "p_error": None,
    "p_failed": "[]",
    "p_failures": 1,
    "p_is_batch": 0,
    "p_is_check": 1,
    "p_is_held": 0,
    "p_mark": "published",
    "p_most_bytes": 1000,
    "p_size": 1000,
    "p_skipped": 0,
    "p_sleep_seconds": 0,
    "p_until": None,
    "p_backoff_cap_seconds": None,
    "p_before": None,
    "p_biz_type": CHAT,
    "p_body": None,
    "p_content_type": None,
    "p_dedup_key": "once",
    "p_default": 100_000,
    "p_from_id": 1,
    "p_has_keys": 1,
    "p_least": 65_536,
    "p_prefix": "p_",
    "p_conversation_id": "c-1",
    "p_delay_seconds": None,
    "p_details": "{}",
    "p_event_type": "%",
    "p_records": "[]",
    "p_source": "%",
    "p_takes_bytes": 0,
    "p_bytes": None,
    "p_errno": 30001,
    "p_error_like": None,
    "p_goes_on": 0,
    "p_handler": None,
    "p_headers": None,
    "p_deliver_at": None,
    "p_heads": "[]",
    "p_ids": "[]",
    "p_last_id": 1,
    "p_lease_seconds": 10,
    "p_limit": 10,
    "p_options": None,
    "p_max_length": 64,
    "p_most": 1000,
    "p_max_retry": None,
    "p_message": "hi",
    "p_message_key": "k",
    "p_messages": "[]",
    "p_name": "p_name",
    "p_ordering": None,
    "p_owned": 1,
    "p_payload": chat_payload(),
    "p_offset": None,
    "p_partition": None,
    "p_per_second": None,
    "p_reason": "none",
    "p_relay": "relay-a",
    "p_role": "user",
    "p_row_image": "FULL",
    "p_routine": "none",
    "p_status": "dead",
    "p_text": "none",
    "p_to_id": None,
    "p_top": 1,
    "p_topic": "nowhere",
    "p_topics": "[]",
    "p_times": "{}",
    "p_turn": 1,
    "p_waits": "{}",
    "p_woken": None,
    "p_user_id": 7,
    "p_value": "none",
    "p_wait_ms": 0,
}
# outboxd's own; what MySQL says of a JSON that does not fit, and where an internal routine gets no value
_REFUSED = {"45000", "22018", "22032", "22035", "22001", "23000"}
_NOBODY = 2**63  # an id that no message has
# Those take exactly one of the two.
_EXCLUSIVE = {"outbox_pause_v1", "outbox_resume_v1"}


# Parameters that take JSON, and JSON that holds a text wherever it has a meaning.
_JSON_WITH: dict[str, Callable[[str], list[Any]]] = {
    "p_failed": lambda text: [[text, [text, text]]],
    "p_notes": lambda text: [[text, [text, text, text]]],
    "p_policies": lambda text: [
        {name: {text: text} for name in ("topics", "troubles", "biz_types")},
        {"unordered": [text]},
    ],
    "p_topics": lambda text: [[text], [{"topic": text, "reason": text}]],
    "p_young": lambda text: [[text, [text, text]]],
    "p_details": lambda text: [{text: text}],
    "p_headers": lambda text: [text, {text: text}, {"traceparent": text}],
    "p_options": lambda text: [{text: text}, {"headers": {text: text}}, {"dedup_key": text}, {"deliver_at": text}],
    "p_heads": lambda text: [[text, [text, text]]],
    "p_ids": lambda text: [[text]],
    "p_messages": lambda text: [
        [text],
        [{"id": text, "created_at": text, "topic": text, "key": text, "receipt": text, "reason": text}],
        [{"id": _NOBODY, "created_at": text, "topic": text, "key": text, "receipt": None, "reason": text}],
        [{"biz_type": text, "topic": "chat", "key": text, "payload": text, "headers": {text: text}, "dedup_key": text}],
        [{"biz_type": text, "topic": "chat", "key": text, "payload": {text: text}, "dedup_key": text}],
    ],
    "p_records": lambda text: [
        [text],
        [{"source": text, "id": text, "type": text, "time": text, "topic": text, "key": text, "payload": text}],
        [{"source": text, "id": text, "topic": text, "bytes": text, "headers": {text: text}, "error": text}],
    ],
    "p_payload": lambda text: [text, {text: text}, {"user_id": text, "conversation_id": text}],
}
# The tables in which a call may leave a row of its own.
_MAY_ADD_TO = {
    "outbox_internal_audit_v1": {"outbox_audit"},
    "outbox_internal_set_limit_v1": {"outbox_audit"},
    "outbox_enqueue_chat_history_v1": {"agent_outbox_messages"},
    "outbox_enqueue_v1": {"agent_outbox_messages"},
    **{
        f"outbox_{name}_v1": {"agent_outbox_messages", "outbox_dedup_keys"}
        for name in (
            "enqueue_with_options",
            "enqueue_returning",
            "enqueue_bytes",
            "enqueue_batch",
            "internal_enqueue",
            "internal_enqueue_part",
            "internal_enqueue_set",
            "internal_enqueue_each",
        )
    },
    "outbox_internal_take_dedup_key_v1": {"outbox_dedup_keys"},
    "outbox_internal_take_dedup_keys_v1": {"outbox_dedup_keys"},
    "outbox_give_up_v1": {"outbox_audit"},
    "outbox_mark_topics_unavailable_v1": {"outbox_pauses"},
    "outbox_pause_v1": {"outbox_audit", "outbox_pauses"},
    "outbox_register_biz_type_v1": {"outbox_audit", "outbox_biz_types"},
    "outbox_subscribe_v1": {"outbox_audit", "outbox_subscriptions"},
    "outbox_unsubscribe_v1": {"outbox_audit"},
}


@dataclass(frozen=True, slots=True)
class Target:
    """A text parameter, and the whole call around it."""

    routine: str
    parameter: str
    is_internal: bool
    signature: tuple[tuple[str, str], ...]

    def call(self, db: Session, text: str, message: int) -> dict[str, Any]:
        """CALL the procedure with the text in its place; returns what its OUT parameters hold."""
        places, values, out = [], [], {}
        for mode, name in self.signature:
            if mode == "OUT":
                places.append(f"@{name}")
                out[name] = f"@{name}"
            else:
                harmless = None if self.routine in _EXCLUSIVE else message if name == "p_id" else _HARMLESS[name]
                value = text if name == self.parameter else harmless
                places.append("%s" if mode == "IN" else f"@{name}")
                if mode == "IN":
                    values.append(value)
                else:
                    db.execute(f"SET @{name} = %s", value)
        db.rows(f"CALL {self.routine}({', '.join(places)})", *values)
        return db.row(f"SELECT {', '.join(f'{variable} AS {name}' for name, variable in out.items())}") if out else {}


def targets(db: Session) -> list[Target]:
    """Every text parameter of every procedure."""
    rows = db.rows(
        "SELECT p.specific_name AS routine, p.parameter_name AS name, p.parameter_mode AS mode, p.data_type AS type,"
        " r.routine_comment AS comment FROM information_schema.parameters AS p"
        " JOIN information_schema.routines AS r"
        "   ON r.routine_schema = p.specific_schema AND r.specific_name = p.specific_name"
        " WHERE p.specific_schema = DATABASE() ORDER BY p.specific_name, p.ordinal_position"
    )
    found = []
    for row in rows:
        signature = tuple((other["mode"], other["name"]) for other in rows if other["routine"] == row["routine"])
        if row["mode"] != "OUT" and row["type"] in _TEXT_TYPES:
            found.append(Target(row["routine"], row["name"], "\nInternal" in row["comment"], signature))
    return found


@pytest.mark.parametrize(
    ("mode", "texts"), [("", (*hostile.SQL, hostile.LONG)), (hostile.ODD_MODE, hostile.QUOTES[:6])]
)
def test_text_in_any_parameter_is_only_ever_a_text(db: Session, mode: str, texts: tuple[str, ...]) -> None:
    db.execute("SET SESSION sql_mode = %s", mode)
    bystanders.arrange(db)
    # Which a routine of the consumer finds in the middle of a batch.
    db.execute("CREATE TEMPORARY TABLE outbox_turns (turn INT, id BIGINT, last_id BIGINT, of_lane INT)")
    for target in targets(db):
        own = db.enqueue(topic="own")
        before = bystanders.look(db, without=own)
        calls = 0
        for text in texts:
            inside = map(json.dumps, _JSON_WITH[target.parameter](text) if target.parameter in _JSON_WITH else [])
            for value in (text, *inside):
                calls += 1
                _is_harmless(db, target, value, own)
        added = bystanders.look(db, without=own).added(before)
        assert all(count <= calls for count in added.values()), target
        assert set(added) <= _MAY_ADD_TO.get(target.routine, set()), target
        bystanders.remove_all_others(db)


def _is_harmless(db: Session, target: Target, value: str, own: int) -> None:
    """It is done as documented, or refused for the text's sake; never is it a wrong statement."""
    try:
        target.call(db, value, own)
    except Error as error:
        if error.sqlstate not in _REFUSED:
            raise
    db.execute("ROLLBACK")  # an internal one may leave a transaction to its caller


@pytest.mark.parametrize("mode", ["", hostile.ODD_MODE])
def test_text_that_is_stored_is_stored_byte_for_byte(db: Session, mode: str) -> None:
    db.execute("SET SESSION sql_mode = %s", mode)
    for text in hostile.SQL:
        payload, headers = json.dumps(text, ensure_ascii=False), {text: text}
        message = db.adopt(text, biz_type=text, topic=text, payload=payload, headers=headers)
        db.call("outbox_mark_dead_v1", message, text)
        db.call("outbox_pause_v1", text, None)
        row = db.message(message)
        stored = [row[name] for name in ("biz_type", "topic", "message_key", "last_error", "payload")]
        assert stored == [text, text, text, text, payload]
        assert json.loads(row["headers"]) == headers
        assert db.value("SELECT topic FROM outbox_dead_letters WHERE id = %s", message) == text
        assert db.message(message)["last_error"] == text
        details = db.value("SELECT details FROM outbox_audit_log ORDER BY id DESC LIMIT 1")
        assert json.loads(details)["topic"] == text

        chat = db.out("outbox_enqueue_chat_history_v1", "chat", text, 7, text, text[:32], text, None)
        assert db.consume(chat) == {chat: "consumed"}
        written = db.row("SELECT chat_id, role, message_content FROM chat_histories ORDER BY id DESC LIMIT 1")
        assert list(written.values()) == [text, text[:32], text]


def test_filters_match_what_was_written_and_nothing_more(db: Session) -> None:
    bystanders.arrange(db)
    for text in hostile.SQL:
        dead = db.adopt(topic=text, biz_type=text, payload="{}")
        db.call("outbox_mark_dead_v1", dead, "as arranged")
        for topic, biz_type in ((text, None), (None, text), (text, text)):
            assert db.out("outbox_count_v1", "dead", topic, biz_type, None, None, None, None, None) == 1
            (listed,) = db.call("outbox_list_dead_v1", topic, biz_type, None, None, None, None, None)
            assert listed["id"] == dead
        assert db.out("outbox_requeue_dead_v1", text, text, None, None, None, None, None) == 1
        db.call("outbox_mark_dead_v1", dead, "again")
        assert db.out("outbox_discard_dead_v1", text, text, None, None, None, None) == 1
    assert sorted(db.statuses().values()) == ["consumed", "dead", "pending", "published"]
