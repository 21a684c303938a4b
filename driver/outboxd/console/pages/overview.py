"""The overview: what goes through, what waits, who works, and what is wrong."""

from dataclasses import asdict
from typing import Any

from starlette.responses import Response

from outboxd.console import listing
from outboxd.console.charts import Curve, curve
from outboxd.console.consumers import State
from outboxd.console.sampler import Key, Rate, Sample
from outboxd.console.visit import Visit
from outboxd.mysql import views
from outboxd.mysql.connection import Row

_NARROW = (96, 22)
_WIDE = (640, 110)


def overview(visit: Visit) -> Response:
    """The page, or one of its lists as a file. Its numbers are those of the sampler, which looks with this account."""
    with visit.database() as database:
        views.topics_unavailable(database)  # the numbers are shared: whoever sees them has the right to
    session, key = visit.session, visit.key
    sample = visit.console.sampler.get(lambda: session.database(key))
    consumers = visit.console.consumers.get(lambda: session.database(key))
    sampler = visit.console.sampler
    curves = {stream: curve(sampler.rates(stream), *_NARROW) for stream in sample.streams} if sample else {}
    rates = {stream: _last(sampler.rates(stream)) for stream in sample.streams} if sample else {}
    form = visit.query.get("format", "")
    if form in {"csv", "json"}:
        name = visit.query.get("list", "streams")
        return listing.asked_for(form, name, _list(name, sample, consumers, rates))
    total_rates = sampler.rates()
    total: Curve | None = curve(total_rates, *_WIDE)
    return visit.page(
        "overview.html",
        sample=sample,
        consumers=consumers,
        curves=curves,
        rates=rates,
        total_curve=total,
        total_rate=_last(total_rates),
        every=1 if sample is None and not sampler.problem else None,
        names=("ok", "warning", "error"),
    )


def _last(rates: list[Rate]) -> Rate | None:
    return rates[-1] if rates and rates[-1].consumed is not None else None


def _list(name: str, sample: Sample | None, consumers: State | None, rates: dict[Key, Rate | None]) -> list[Row]:
    if name == "partitions":
        partitions = consumers.partitions if consumers else []
        return [asdict(one) | {"behind": one.behind} for one in partitions]
    if sample is None:
        return []
    if name == "relays":
        columns = ("relay", "slots_owned", "lease_seconds", "backlog")
        return [dict(zip(columns, row, strict=True)) for row in sample.relays]
    if name == "findings":
        return sample.findings
    if name == "pauses":
        return [asdict(one) for one in sample.pauses]
    return [_stream(key, sample, rates) for key in sample.streams]


def _stream(key: Key, sample: Sample, rates: dict[Key, Rate | None]) -> dict[str, Any]:
    stream, rate = sample.streams[key], rates.get(key)
    counts = {name: stream.counts.get(name, 0) for name in ("pending", "published", "consumed", "dead")}
    return {
        "topic": key[0],
        "biz_type": key[1],
        **counts,
        "overdue_seconds": stream.overdue_seconds,
        "lag_seconds": stream.oldest_seconds,
        "consumed_per_second": rate.consumed if rate else None,
        "dead_per_second": rate.dead if rate else None,
    }
