"""Messages for the pages: some of each status, with texts that mean something to HTML."""

from dataclasses import dataclass

from tests.kit.session import Session

HOSTILE = (
    "<script>window.hurt=1</script><img src=x onerror=window.hurt=1>\"><svg onload=window.hurt=1>'"
    " onmouseover='window.hurt=1' {{7*7}} &lt;b&gt; </pre></bdi></td> \u202egnp.exe \x1b[31m"
)
"""Closes every element and attribute that it may stand in, and does something there."""
ON_THE_PAGE = "<script>window.hurt=1</script><img src=x onerror=window.hurt=1>"


@dataclass(frozen=True, slots=True)
class Letters:
    """The ids of what is there."""

    consumed: int
    waiting: int
    failing: int
    behind: int
    dead: list[int]
    hostile: int


def put(db: Session) -> Letters:
    """One consumed, one that waits, one that fails with one behind it, four dead of two kinds, a hostile one."""
    (consumed,) = [db.enqueue_in("consumed", "c")]
    waiting = db.enqueue("w")
    failing = db.enqueue("lane")
    behind = db.enqueue("lane")
    for _ in range(6):  # so that it waits for half a minute
        db.call("outbox_mark_failed_v1", failing, "order must be an integer")
    dead = [db.enqueue(f"d-{number}", topic="orders") for number in range(4)]
    for number, message in enumerate(dead):
        error = f"Duplicate entry '{number}' for key 'PRIMARY'" if number < 3 else "out of range at row 7"
        db.call("outbox_mark_dead_v1", message, error)
    hostile = db.enqueue_with(
        HOSTILE[:64], "chat", HOSTILE, '{"<b>": "<script>window.hurt=1</script>"}', headers={HOSTILE[:60]: HOSTILE}
    )
    db.call("outbox_mark_failed_v1", hostile, HOSTILE)
    db.call("outbox_mark_dead_v1", hostile, HOSTILE)
    return Letters(consumed, waiting, failing, behind, dead, hostile)
