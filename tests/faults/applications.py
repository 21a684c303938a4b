"""Several application processes that write one stream of real chat; see ``writer`` for what each does."""

import json
import random
import signal
import subprocess
import sys
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import astuple
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.faults import writer
from tests.faults.stage import ACCOUNT, FaultError, Scene
from tests.kit import chat, ledger
from tests.kit.ledger import Ledger
from tests.servers.paths import CHECKOUT

_FEWEST_LINES = 40_000
_AT_A_TIME = 24


class Applications:
    """Starts them on entering the block, and ends them on leaving it; they write while the block does other things.

    Patient ones go on after errors of MySQL, which else are a FaultError; haste divides how long they wait,
    and how often they kill themselves. shard: its number and how many there are; users are dealt out to shards.
    """

    def __init__(
        self,
        scene: Scene,
        seed: int,
        messages: int,
        processes: int,
        name: str = "application",
        *,
        patient: bool = False,
        haste: float = 1,
        shard: tuple[int, int] = (0, 1),
    ) -> None:
        self.killed = 0
        self._scene = scene
        self._patient, self._haste, self._shard = patient, haste, shard
        self._enough = scene.folder / f"{name}s have written enough"
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._plans = self._deal(seed, messages, [f"{name}-{number}" for number in range(processes)])

    def __enter__(self) -> Self:
        for plan in self._plans:
            self._start(plan)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._running.values():
            process.kill()
            process.wait()

    def say_enough(self) -> None:
        """Let each end after the transaction that it is in, though it has not written all."""
        self._enough.touch()

    def finish(self, seconds: float = 300) -> None:
        """Wait until all is written. Those that killed themselves are started again by whoever waits."""
        self._scene.wait_until(self.are_done, "the applications have written everything", seconds)

    def are_done(self) -> bool:
        """Whether all is written; starts those again that killed themselves. Raises FaultError if one failed."""
        for plan in self._plans:
            code = self._running[plan.name].poll()
            if code == -signal.SIGKILL:
                self.killed += 1
                self._start(plan)
            elif code:
                log = (self._scene.folder / f"{plan.name}.log").read_text(encoding="utf-8")
                raise FaultError(f"application {plan.name} ended with exit code {code}:\n{log}")
        return all(process.poll() == 0 for process in self._running.values())

    def written(self) -> int:
        """How many messages have committed so far."""
        return len(self.ledger().committed)

    def ledger(self) -> Ledger:
        """What they know."""
        return ledger.read(Path(plan.ledger) for plan in self._plans)

    def _deal(self, seed: int, messages: int, names: Sequence[str]) -> list[writer.Plan]:
        """Deal the chat out at random, so that each conversation is written by several of them."""
        chance = random.Random(f"{seed} shares")
        shares: list[list[chat.Chat]] = [[] for _ in names]
        number, shards = self._shard
        lines = _conversations(chance, max(messages, _FEWEST_LINES))
        for line in islice((line for line in lines if line.user_id % shards == number), messages):
            chance.choice(shares).append(line)
        plans = []
        for name, share in zip(names, shares, strict=True):
            own = self._scene.folder / f"{name}.chat"
            own.write_text("".join(f"{json.dumps(astuple(line))}\n" for line in share), encoding="utf-8")
            plan = writer.Plan(
                name=name,
                seed=seed,
                topics=self._scene.topics,
                chat=str(own),
                ledger=str(self._scene.folder / f"{name}.ledger"),
                enough=str(self._enough),
                patient=self._patient,
                haste=self._haste,
                host=self._scene.server.host,
                port=self._scene.server.port,
                user=ACCOUNT,
                password=self._scene.password,
                database=self._scene.database,
            )
            (self._scene.folder / f"{name}.json").write_text(plan.to_json(), encoding="utf-8")
            plans.append(plan)
        return plans

    def _start(self, plan: writer.Plan) -> None:
        with (self._scene.folder / f"{plan.name}.log").open("ab") as log:
            self._running[plan.name] = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.writer", str(self._scene.folder / f"{plan.name}.json")],
                cwd=CHECKOUT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )


def _conversations(chance: random.Random, lines: int) -> Iterator[chat.Chat]:
    """Real conversations, few at a time, so that several applications write to each at the same moment."""
    turns: dict[str, deque[chat.Chat]] = defaultdict(deque)
    for line in chat.read(chat.default_file(), lines):
        turns[line.conversation_id].append(line)
    waiting = iter(turns.values())
    under_way = list(islice(waiting, _AT_A_TIME))
    while under_way:
        number = chance.randrange(len(under_way))
        yield under_way[number].popleft()
        if not under_way[number]:
            under_way[number : number + 1] = islice(waiting, 1)
