"""`outboxd replay`: lets consumed messages take effect once more."""

import click

from outboxd.commands.confirm import ask, in_parts, in_words
from outboxd.commands.options import OPERATOR, all_option, biz_type_option, topic_option, with_settings, yes_option
from outboxd.mysql.procedures import OperatorProcedures
from outboxd.settings import Settings


@click.command()
@click.option("--from-id", type=click.IntRange(min=1), help="from this message on")
@click.option("--to-id", type=click.IntRange(min=1), help="up to this message")
@topic_option
@biz_type_option
@all_option
@yes_option
@with_settings(*OPERATOR)
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
    filters = {"topic": topic, "biz_type": biz_type, "from_id": from_id, "to_id": to_id}
    if any(value is not None for value in filters.values()) == everything:
        raise click.UsageError("give a range of IDs, --topic or --biz-type, or else --all")
    start, end = from_id, to_id
    with OperatorProcedures(settings, answers_in_time=False) as database:

        def part(limit: int) -> int:
            nonlocal start, end
            rows, replayed = database.replay(start, end, biz_type, topic, limit)
            if replayed:
                # The end stays: behind it are the copies, which may be consumed by now.
                start, end = rows[0]["last_id"] + 1, rows[0]["to_id"]
            return replayed

        count = ask(database, "replay", "consumed", yes=yes, **filters)
        if count:
            click.echo(f"{in_words(in_parts('replayed', count, part), 'consumed')} replayed as new ones")
