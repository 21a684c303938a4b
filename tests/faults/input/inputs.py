"""Input that is wrong: payloads of every class, and names that nobody knows."""

from mysql.connector.errors import DatabaseError

from tests.faults.input import outcomes, payload_cases
from tests.faults.input.outcomes import Expected
from tests.faults.input.payload_cases import Chat, Refused
from tests.faults.report import Report
from tests.faults.stage import Stage
from tests.kit.chat import Writer
from tests.kit.ledger import Entry
from tests.kit.session import Session, chat_payload


def payloads(stage: Stage) -> Report:
    """Enqueue every class of payload, each between good chat of its own key and of others."""
    with stage.scene(partitions=1) as scene:
        scene.start("relay", "relay")
        scene.start("consumer", "consumer")
        topic, session = scene.topics[0], scene.session
        good = Writer(topic)
        bad: list[Expected] = []
        # All at once, so that the bad ones are in everybody's batch.
        session.execute("START TRANSACTION")
        for dead in payload_cases.DEAD:
            good.enqueue(session, dead.name)
            id_ = session.enqueue(dead.name, topic=topic, payload=dead.payload)
            good.enqueue(session, dead.name, "between")
            bad.append(Expected(id_, dead.name, "dead", dead.last_error))
        odd = [_enqueue(session, topic, case) for case in payload_cases.CHATS]
        refusals = [_refused(session, topic, case) for case in payload_cases.REFUSED]
        good.enqueue(session, *[dead.name for dead in payload_cases.DEAD])
        session.execute("COMMIT")
        scene.wait_until_final()
        judgement = outcomes.judge(scene, good.entries + odd, bad)
        known = len(good.entries) + len(odd) + len(bad)
        stored = sum(scene.counts().values())
        problems = [problem for _, problem in refusals if problem]
        if stored != known:
            problems.append(f"{stored} messages are stored, and {known} were accepted")
        return Report(
            "payloads of every class",
            f"{len(bad)} classes that are wrong for chat, {len(odd)} odd ones that are right, and {len(refusals)} that"
            f" are not to be enqueued; {len(good.entries)} good messages of the same keys and others around them",
            "\n         ".join([judgement.found, *[f"{case.name}: chat" for case in payload_cases.CHATS]])
            + "".join(f"\n         {line}" for line, _ in refusals),
            judgement.verdict,
            problems + judgement.problems,
        )


_TOPICS = {
    "topic with a space": "a b",
    "topic of dots": "..",
    "topic with a NUL": "a\0b",
    "topic of a NUL only": "\0",
    "topic of 249 letters of three bytes": "漢" * 249,
    "topic like a pattern": "^chat",
}


def names(stage: Stage) -> Report:
    """Adopt chat for topics that cannot exist, which no enqueue takes, and enqueue business types
    that nobody knows: publish-only."""
    with stage.scene(partitions=1) as scene:
        scene.start("relay", "relay")
        scene.start("consumer", "consumer")
        good, session = Writer(scene.topics[0]), scene.session
        good.enqueue(session, *_TOPICS)
        bad = []
        for name, topic in _TOPICS.items():
            id_ = session.adopt(name, topic=topic, payload=chat_payload(name))
            session.execute("UPDATE agent_outbox_messages SET max_retry = 1 WHERE id = %s", id_)
            bad.append(Expected(id_, name, "dead", "Kafka refuses the record", retries=None))
            good.enqueue(session, name, "between")
        for name, biz_type in {"unknown business type": "nobody's", "business type with a NUL": "nul\0type"}.items():
            id_ = session.enqueue(name, biz_type=biz_type, topic=scene.topics[0])
            bad.append(Expected(id_, name, "consumed", None))
            good.enqueue(session, name, "between")
        scene.wait_until_final()
        judgement = outcomes.judge(scene, good.entries, bad)
        return Report(
            "names that nobody knows",
            f"{len(_TOPICS)} topics that cannot exist, {len(bad) - len(_TOPICS)} publish-only business"
            f" types, among {len(good.entries)} good messages",
            judgement.found,
            judgement.verdict,
            judgement.problems,
        )


def _enqueue(session: Session, topic: str, case: Chat) -> Entry:
    id_ = session.enqueue(case.conversation, topic=topic, payload=case.payload)
    return Entry(id_, topic, case.conversation, case.user_id, case.role, case.text)


def _refused(session: Session, topic: str, case: Refused) -> tuple[str, str | None]:
    """What the enqueue said, and what is wrong about that."""
    try:
        session.enqueue(case.name, topic=topic, payload=case.payload)
    except DatabaseError as error:
        line = f"{case.name}: refused with {error.errno}, {str(error.msg)[:60]!r}"
        is_well = error.errno == 30003 and str(error.msg).startswith(case.says)
        return line, None if is_well else f"{line}; expected: {case.says}"
    return f"{case.name}: accepted", f"{case.name}: accepted"
