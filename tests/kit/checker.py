"""The one checker of what arrived: compares what applications know with what the tables and the topics hold."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from tests.kit.kafka import Record
from tests.kit.ledger import Entry, Ledger
from tests.kit.session import Row, Session

_EVIDENCE = 20


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of all messages; evidence names the first that are wrong."""

    messages: int
    in_doubt: int
    lost: int
    duplicated: int
    out_of_order: int
    strangers: int
    dead: int
    unfinished: int
    unrecorded: int = 0
    evidence: list[str] = field(default_factory=list)

    @property
    def is_well(self) -> bool:
        """Every message once and in order, and nothing else."""
        return not (
            self.lost
            or self.duplicated
            or self.out_of_order
            or self.strangers
            or self.dead
            or self.unfinished
            or self.unrecorded
        )

    def __str__(self) -> str:
        """As in a report."""
        return (
            f"{self.messages} messages, {self.lost} lost, {self.duplicated} duplicated, "
            f"{self.out_of_order} out of order, {self.strangers} that never committed, {self.dead} dead, "
            f"{self.unfinished} unfinished, {self.unrecorded} not in the topic"
        )


def together(verdicts: Sequence[Verdict]) -> Verdict:
    """What became of the messages of several outboxes; without the evidence."""
    counted = [{**asdict(verdict), "evidence": 0} for verdict in verdicts]
    sums = {name: sum(counts[name] for counts in counted) for name in counted[0]}
    return Verdict(**{**sums, "evidence": []})


def check(ledger: Ledger, session: Session, records: Sequence[Record] | None = None) -> Verdict:
    """Compare the ledger with chat_histories, the outbox and, where they are given, all records of the topics.

    lost: committed, and no row of chat_histories is this message to the byte; a dead one counts as dead instead.
    duplicated: rows beyond those that messages of their text account for. out of order: rows that come, by
    chat_histories.id, after a row with a higher outbox id of their topic and key. strangers: rows, and records, that no
    committed message accounts for. unrecorded: messages with an effect, and no record of theirs is the message as it
    was enqueued.
    """
    known = _by_content(ledger)
    rows = session.rows(
        "SELECT id, user_id, chat_id AS `key`, role, message_content AS text FROM chat_histories ORDER BY id"
    )
    outbox = {row["id"]: row for row in session.rows(f"SELECT {_COLUMNS} FROM agent_outbox_messages")}
    found = list(_matched(rows, known))
    # By entry: an id may be given out again by a server that took over and never saw the transaction in doubt.
    times = Counter(entry for _, entry in found if entry is not None)

    strangers = [row for row, entry in found if entry is None]
    duplicated = [entry for entry in times if times[entry] > 1]
    missing = [entry for entry in ledger.committed if not times[entry]]
    dead = {id_ for id_, row in outbox.items() if row["status"] == "dead"}
    lost = [entry for entry in missing if entry.id not in dead]
    unfinished = [row for row in outbox.values() if row["status"] in {"pending", "published"}]
    late = list(_out_of_order((row, entry) for row, entry in found if entry is not None))

    evidence = [f"lost: {entry}; outbox: {outbox.get(entry.id)}" for entry in lost]
    evidence += [f"duplicated: {times[entry]} times {entry}; outbox: {outbox.get(entry.id)}" for entry in duplicated]
    evidence += [
        f"out of order in {entry.topic}, {entry.key}: {outbox.get(entry.id)} as chat_histories.id {row['id']}"
        f" after {outbox.get(before.id)} as chat_histories.id {row_before['id']}"
        for row, entry, row_before, before in late
    ]
    evidence += [f"never committed: {row}" for row in strangers]
    evidence += [f"dead: {outbox[id_]}" for id_ in sorted(dead)]
    evidence += [f"unfinished: {row}" for row in unfinished]

    invented: list[Record] = []
    unrecorded: list[Entry] = []
    if records is not None:
        by_id: dict[int, list[Entry]] = defaultdict(list)
        for entry in (entry for same in known.values() for entry in same):
            by_id[entry.id].append(entry)
        invented = [record for record in records if record.id not in by_id]
        sent = {entry for record in records for entry in by_id.get(record.id, []) if _is_record_of(record, entry)}
        unrecorded = [entry for entry in times if entry not in sent]
        evidence += [f"never committed, and in the topic: {record}" for record in invented]
        evidence += [f"not in the topic: {entry}" for entry in unrecorded]
    return Verdict(
        messages=len(ledger.committed),
        in_doubt=len(ledger.in_doubt),
        lost=len(lost),
        duplicated=sum(times[entry] - 1 for entry in duplicated),
        out_of_order=len(late),
        strangers=len(strangers) + len(invented),
        dead=len(dead),
        unfinished=len(unfinished),
        unrecorded=len(unrecorded),
        evidence=evidence[:_EVIDENCE],
    )


_COLUMNS = "id, message_key, status, retry_count, last_error, created_at, published_at, consumed_at, updated_at"
_Content = tuple[int, str, str, str]


def _by_content(ledger: Ledger) -> dict[_Content, list[Entry]]:
    """The messages of each content by ascending id, those in doubt behind those that have committed."""
    known: dict[_Content, list[Entry]] = defaultdict(list)
    for part in (ledger.committed, ledger.in_doubt):
        for entry in sorted(part, key=lambda entry: entry.id):
            known[entry.user_id, entry.key, entry.role, entry.text].append(entry)
    return known


def _matched(rows: Iterable[Row], known: Mapping[_Content, Sequence[Entry]]) -> Iterable[tuple[Row, Entry | None]]:
    """Each row with its message; rows beyond the last message of their content go to that one."""
    seen: Counter[_Content] = Counter()
    for row in rows:
        content = row["user_id"], row["key"], row["role"], row["text"]
        same = known.get(content, [])
        yield row, same[min(seen[content], len(same) - 1)] if same else None
        seen[content] += 1


def _is_record_of(record: Record, entry: Entry) -> bool:
    """Whether a record of the topics is the message that its application has enqueued."""
    chat = json.loads(record.value or b"{}")
    in_payload = (chat.get("user_id"), chat.get("conversation_id"), chat.get("role"), chat.get("message"))
    told = (record.id, record.topic, record.key, *in_payload)
    return told == (entry.id, entry.topic, entry.key.encode(), entry.user_id, entry.key, entry.role, entry.text)


def _out_of_order(found: Iterable[tuple[Row, Entry]]) -> Iterable[tuple[Row, Entry, Row, Entry]]:
    """Rows that came after one with a higher outbox id of their topic and key, each with that one."""
    highest: dict[tuple[str, str], tuple[Row, Entry]] = {}
    seen: dict[tuple[str, str], set[int]] = defaultdict(set)
    for row, entry in found:
        lane = entry.topic, entry.key
        if entry.id in seen[lane]:
            continue  # a duplicate is counted as that
        seen[lane].add(entry.id)
        row_before, before = highest.get(lane, (row, entry))
        if entry.id < before.id:
            yield row, entry, row_before, before
        else:
            highest[lane] = row, entry
