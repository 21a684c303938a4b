"""The operator's commands: dead letters, pauses, purge, recovery, replay, policies, and who did what.

Every rule is in the procedures; a command counts, asks before it touches more than one message, calls, and says in one
line what was done. Exit codes as in cli.
"""

import json
from typing import Any

import click
from rich.table import Table

from outboxd.asking import (
    age,
    ago,
    all_option,
    ask,
    biz_type_option,
    in_parts,
    in_words,
    topic_option,
    yes_option,
)
from outboxd.database import Database
from outboxd.dead_letters import dead
from outboxd.options import cell, console, say, with_settings
from outboxd.settings import Settings

_older_than = click.option("--older-than", type=age, required=True, help="such as 90s, 15m, 12h, 7d or 1d12h")


@click.command()
@click.option("--topic", help="this topic")
@click.option("--biz-type", help="this business type")
@with_settings
def pause(settings: Settings, topic: str | None, biz_type: str | None) -> None:
    """Stop relaying a topic or a business type; without either, list what is paused.

    Enqueuing goes on. What is in Kafka already is still consumed.
    """
    with Database(settings) as database:
        if topic is None and biz_type is None:
            rows = database.query(
                "SELECT kind, name, paused_at, paused_by FROM outbox_policies WHERE paused_at IS NOT NULL"
            )
            for kind, name, paused_at, paused_by in rows:
                say(f"{_kind(kind)} {name}: paused since {paused_at:%F %T} UTC by {paused_by}")
            click.echo(f"{len(rows)} paused")
            return
        _check_one(topic, biz_type)
        (row,) = database.call("outbox_pause_v1", topic, biz_type)
    since = f" since {row['paused_at']:%F %T} UTC by {row['paused_by']}"
    say(f"{_kind(row['kind'])} {row['name']} is paused{'' if row['changed'] else f' already,{since}'}")


@click.command()
@click.option("--topic", help="this topic")
@click.option("--biz-type", help="this business type")
@with_settings
def resume(settings: Settings, topic: str | None, biz_type: str | None) -> None:
    """Go on relaying a topic or a business type that was paused."""
    _check_one(topic, biz_type)
    with Database(settings) as database:
        (row,) = database.call("outbox_resume_v1", topic, biz_type)
    say(f"{_kind(row['kind'])} {row['name']} {'is relayed again' if row['changed'] else 'was not paused'}")


@click.command()
@_older_than
@click.option("--dead", "dead_too", is_flag=True, help="purge dead letters, instead of consumed messages")
@yes_option
@with_settings
def purge(settings: Settings, older_than: int, dead_too: bool, yes: bool) -> None:
    """Delete old consumed messages, or with --dead old dead letters."""
    status, procedure = ("dead", "outbox_purge_dead_v1") if dead_too else ("consumed", "outbox_purge_v1")
    with Database(settings, answers_in_time=False) as database:
        before = ago(database, older_than)

        def part(limit: int) -> int:
            return int(database.call(procedure, before, limit)[0]["deleted"])

        count = ask(database, "purge", yes, status, None, None, None, before)
        if count:
            click.echo(f"{in_words(in_parts('purged', count, part), status)} purged")


@click.command()
@_older_than
@yes_option
@with_settings
def recover(settings: Settings, older_than: int, yes: bool) -> None:
    """Send messages again that were published that long ago and never consumed."""
    with Database(settings, answers_in_time=False) as database:

        def part(limit: int) -> int:
            return int(database.call_out("outbox_recover_published_v1", older_than, min(limit, 1000)))

        count = ask(database, "recover", yes, "published", None, None, None, ago(database, older_than))
        if count:
            done = in_parts("recovered", count, part)
            rest = "" if done >= count else f"; {count - done} left: behind messages under way, or consumed by now"
            click.echo(f"{in_words(done, 'published')} recovered: pending again{rest}")


@click.command()
@click.option("--from-id", type=click.IntRange(min=1), help="from this message on")
@click.option("--to-id", type=click.IntRange(min=1), help="up to this message")
@topic_option
@biz_type_option
@all_option
@yes_option
@with_settings
def replay(
    settings: Settings,
    from_id: int | None,
    to_id: int | None,
    topic: str | None,
    biz_type: str | None,
    everything: bool,
    yes: bool,
) -> None:
    """Let consumed messages take effect once more, as new messages.

    Where it was cut off, go on with --from-id, behind the last_id that `outboxd audit --action replay` shows.
    """
    given = any(value is not None for value in (from_id, to_id, topic, biz_type))
    if given == everything:
        raise click.UsageError("give a range of IDs, --topic or --biz-type, or else --all")
    start, end = from_id, to_id
    with Database(settings, answers_in_time=False) as database:

        def part(limit: int) -> int:
            nonlocal start, end
            rows, replayed = database.call_with_out("outbox_replay_v1", start, end, biz_type, topic, limit)
            if replayed:
                # The end stays: behind it are the copies, which may be consumed by now.
                start, end = rows[0]["last_id"] + 1, rows[0]["to_id"]
            return int(replayed)

        count = ask(database, "replay", yes, "consumed", topic, biz_type, None, None, from_id, to_id)
        if count:
            click.echo(f"{in_words(in_parts('replayed', count, part), 'consumed')} replayed as new ones")


@click.group(name="biz-type")
def policies() -> None:
    """List business types, register one, or change its policy."""


@policies.command(name="list")
@with_settings
def list_policies(settings: Settings) -> None:
    """List the business types, their handlers and policies."""
    with Database(settings) as database:
        rows = database.query(
            "SELECT name, handler, ordering, max_retry, backoff_base_seconds, backoff_cap_seconds, paused_at"
            " FROM outbox_policies WHERE kind = 'biz_type' ORDER BY name"
        )
    table = Table("business type", "handler", "ordering", "max retry", "backoff", "paused since (UTC)", box=None)
    for name, handler, ordering, max_retry, base, cap, paused_at in rows:
        backoff = f"{base} to {cap} s" if handler else ""
        since = f"{paused_at:%F %T}" if paused_at else ""
        retries = str(max_retry or "as enqueued") if handler else ""
        table.add_row(cell(name), cell(handler or "not registered"), ordering, retries, backoff, since)
    console.print(table)


@policies.command(name="set")
@click.argument("biz_type")
@click.option("--handler", help="procedure (p_id, p_payload) of this database")
@click.option("--ordering", type=click.Choice(["key", "none"]), help="order by topic and key, or none")
@click.option("--max-retry", type=click.IntRange(min=0), help="failures until dead; 0: as enqueued")
@click.option("--backoff-base", type=age, help="wait after the first failure, such as 1s")
@click.option("--backoff-cap", type=age, help="longest wait, such as 15m")
@with_settings
def set_policy(
    settings: Settings,
    biz_type: str,
    handler: str | None,
    ordering: str | None,
    max_retry: int | None,
    backoff_base: int | None,
    backoff_cap: int | None,
) -> None:
    """Register BIZ_TYPE, or change what is given of it."""
    with Database(settings) as database:
        arguments = (biz_type, handler, ordering, max_retry, backoff_base, backoff_cap)
        (row,) = database.call("outbox_register_biz_type_v1", *arguments)
    retries = "max retry as enqueued" if row["max_retry"] is None else f"max retry {row['max_retry']}"
    backoff = f"backoff {row['backoff_base_seconds']} to {row['backoff_cap_seconds']} s"
    done = "is set" if row["changed"] else "was so already"
    say(f"{biz_type} {done}: handler {row['handler']}, ordering {row['ordering']}, {retries}, {backoff}")


@click.command()
@click.option("--action", help="only this action, such as requeue or pause")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="rows at most")
@click.option("--json", "as_json", is_flag=True, help="print all of it, one JSON object a line")
@with_settings
def audit(settings: Settings, action: str | None, limit: int, as_json: bool) -> None:
    """List what operators did, the latest first."""
    with Database(settings) as database:
        rows = database.query(
            "SELECT id, at, account, action, messages, details FROM outbox_audit_log"
            " WHERE action = COALESCE(%s, action) ORDER BY id DESC LIMIT %s",
            action,
            limit,
        )
    table = Table("id", "at (UTC)", "account", "action", "messages", "details", box=None)
    for number, at, account, what, messages, text in rows:
        details = json.loads(text)
        if as_json:
            line = {"id": number, "at": f"{at.isoformat()}Z", "account": account, "action": what, "details": details}
            click.echo(json.dumps(line))
        else:
            changed = "" if messages is None else str(messages)
            table.add_row(str(number), f"{at:%F %T}", cell(account), what, changed, cell(_in_short(details)))
    if not as_json:
        console.print(table)


COMMANDS: tuple[click.Command, ...] = (dead, pause, resume, purge, recover, replay, policies, audit)


def _check_one(topic: str | None, biz_type: str | None) -> None:
    if (topic is None) == (biz_type is None):
        raise click.UsageError("give --topic or --biz-type")


def _in_short(details: dict[str, Any]) -> str:
    """Details of the audit on one line; of a list of messages their ids."""
    texts = {}
    for name, value in details.items():
        if isinstance(value, list):
            ids = [str(item["id"]) for item in value]
            texts[name] = ", ".join(ids[:10]) + (", ..." if ids[10:] else "")
        elif isinstance(value, dict):
            texts[name] = f"({_in_short(value)})"
        else:
            texts[name] = str(value)
    return "; ".join(f"{name}: {text}" for name, text in texts.items() if name != "messages")


def _kind(kind: str) -> str:
    return "topic" if kind == "topic" else "business type"
