"""What it costs to receive events of others, beside consuming own messages: the same chat, handler and consumer."""

from dataclasses import asdict, dataclass
from statistics import median

from tests.bench import daemon, drain
from tests.bench.drain import Drain
from tests.bench.measurement import Measurement, Result
from tests.bench.stage import Stage
from tests.kit.kafka import put
from tests.kit.session import CHAT, Session

_KEY = "inbox_per_s"
_OTHERS = "/outboxd/others/00000000"


@dataclass(frozen=True, slots=True)
class _Sample:
    own: Drain
    received: Drain


def _sample(stage: Stage) -> _Sample:
    return _Sample(_drain(stage, is_own=True), _drain(stage, is_own=False))


def _drain(stage: Stage, *, is_own: bool) -> Drain:
    """A backlog in Kafka, through one consumer, to chat_histories; the messages are own ones, or there are none yet."""
    stage.clear()
    topic = stage.new_topic()
    stage.fill(stage.sizes.messages, topic)
    with stage.connect() as session:
        source = session.source() if is_own else _OTHERS
        put(stage.kafka.bootstrap, topic, *_records(session, source))
        if is_own:
            session.execute(
                "UPDATE agent_outbox_messages SET status = 'published', next_retry_at = NULL,"
                " published_at = created_at;"
                "TRUNCATE TABLE performance_schema.table_io_waits_summary_by_table"
            )
        else:
            stage.clear()
            session.call("outbox_subscribe_v1", _OTHERS, "%", CHAT)
        with daemon.run(stage, topic, arguments=("--only", "consumer")) as daemons:
            return drain.watch(session, daemons, stage.sizes.messages, daemons.started_at)


def _records(session: Session, source: str) -> list[dict[str, object]]:
    rows = session.rows("SELECT id, message_key, payload, created_at FROM agent_outbox_messages ORDER BY id")
    return [
        {
            "key": row["message_key"].encode(),
            "value": row["payload"].encode(),
            "headers": {
                "ce_specversion": "1.0",
                "ce_id": str(row["id"]),
                "ce_source": source,
                "ce_type": CHAT,
                "ce_time": f"{row['created_at'].isoformat()}Z",
                "content-type": "application/json",
            },
        }
        for row in rows
    ]


def _summarise(samples: list[_Sample]) -> Result:
    own, received = (median(getattr(sample, kind).steady_per_s for sample in samples) for kind in ("own", "received"))
    ratio = median(sample.own.steady_per_s / sample.received.steady_per_s for sample in samples)
    return Result(
        {_KEY: round(received, 1)},
        {_KEY: f"own messages {own:,.0f}/s; a message takes {ratio:.2f} x as long"},
        {_KEY: {"own_per_s": own, "ratio": ratio, "samples": [asdict(sample) for sample in samples]}},
    )


MEASUREMENT = Measurement(
    keys=(_KEY,),
    title="inbox: events of others, beside own messages",
    sample=_sample,
    summarise=_summarise,
    repeated=True,
)
