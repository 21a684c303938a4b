"""Messages that are too large: for MySQL, for the Kafka client, for the topic, and for the way back into MySQL."""

import random

from mysql.connector.errors import OperationalError

from tests.faults.input import outcomes
from tests.faults.input.outcomes import Expected
from tests.faults.report import Report
from tests.faults.stage import Scene, Stage
from tests.kit.chat import Writer
from tests.kit.ledger import Entry
from tests.kit.session import Session

_MIB = 1 << 20
_TOO_LARGE = "Message size too large (MSG_SIZE_TOO_LARGE)"
_TOO_LARGE_TO_ASK = 65 * _MIB  # more than max_allowed_packet is by default
_SMALL_PACKET = _MIB
_BACKSLASHES = 200_000  # quoted twice on their way to the consumer's procedure, they are four times as many


def sizes(stage: Stage) -> Report:
    """Enqueue messages that are too large for the server, the client, the broker, or for nobody."""
    with stage.scene(partitions=1) as scene:
        scene.session.call("outbox_set_max_payload_bytes_v1", 32 * _MIB)
        scene.start("relay", "relay")
        scene.start("consumer", "consumer")
        topic = scene.topics[0]
        good, large = Writer(topic), Writer(topic)
        problems: list[str] = []
        with scene.server.connect(scene.database) as application:
            said = _enqueue_too_large(application, topic)
        if "max_allowed_packet" not in said:
            problems.append(f"the enqueue of {_TOO_LARGE_TO_ASK} bytes said: {said}")
        bad = []
        for name, text in {
            "16 MiB that compress well, more than a client sends": "x" * (16 * _MIB),
            "3 MiB that do not compress, more than the topic takes": _random(3 * _MIB),
        }.items():
            good.enqueue(scene.session, name)
            bad.append(Expected(_enqueue_text(scene, name, text).id, name, "dead", _TOO_LARGE))
            good.enqueue(scene.session, name, "between")
        fit = {"8 MiB that compress well": "x" * (8 * _MIB), "900 kB that do not compress": _random(900_000)}
        large.entries += [_enqueue_text(scene, name, text) for name, text in fit.items()]
        good.enqueue(scene.session, *fit)
        scene.wait_until_final(120)
        judgement = outcomes.judge(scene, good.entries + large.entries, bad)
        return Report(
            "payloads of every size",
            f"{_TOO_LARGE_TO_ASK >> 20} MiB, 16 MiB and 3 MiB, which are too large for MySQL, the Kafka client and the"
            f" topic; {' and '.join(fit)}, which are not; {len(good.entries)} good messages around them",
            f"{judgement.found}\n         enqueue of {_TOO_LARGE_TO_ASK >> 20} MiB: {said}",
            judgement.verdict,
            problems + judgement.problems,
        )


def packets(stage: Stage) -> Report:
    """Let a message be larger on its way to the consumer's procedure than the server takes in one statement."""
    with stage.scene(partitions=1) as scene:
        scene.session.call("outbox_set_max_payload_bytes_v1", 32 * _MIB)
        before = scene.session.value("SELECT @@GLOBAL.max_allowed_packet")
        scene.session.execute("SET GLOBAL max_allowed_packet = %s", _SMALL_PACKET)
        try:
            scene.start("relay", "relay")
            scene.start("consumer", "consumer")
            good = Writer(scene.topics[0])
            good.enqueue(scene.session, "k")
            name = f"{_BACKSLASHES} backslashes"
            entry = _enqueue_text(scene, "k", "\\" * _BACKSLASHES, max_retry=2)
            good.enqueue(scene.session, "k", "other")
            scene.wait_until_final()
        finally:
            scene.session.execute("SET GLOBAL max_allowed_packet = %s", before)
        bad = [Expected(entry.id, name, "dead", "max_allowed_packet", retries=2)]
        judgement = outcomes.judge(scene, good.entries, bad)
        return Report(
            "a message larger than MySQL takes back",
            f"max_allowed_packet {_SMALL_PACKET}; {name} among {len(good.entries)} good messages",
            judgement.found,
            judgement.verdict,
            judgement.problems,
        )


def _enqueue_text(scene: Scene, key: str, text: str, max_retry: int | None = None) -> Entry:
    arguments = (scene.topics[0], key, 7, key, "user", text, max_retry)
    return Entry(
        int(scene.session.out("outbox_enqueue_chat_history_v1", *arguments)), scene.topics[0], key, 7, "user", text
    )


def _enqueue_too_large(session: Session, topic: str) -> str:
    try:
        session.out("outbox_enqueue_chat_history_v1", topic, "k", 7, "k", "user", "x" * _TOO_LARGE_TO_ASK, None)
    except OperationalError as error:
        return str(error)
    return "accepted"


def _random(characters: int) -> str:
    return random.Random(characters).randbytes(characters // 2).hex()
