"""A TCP proxy that is a bad network: slow, lossy, narrow, cut, closed, or silent."""

import asyncio
import random
import socket
import struct
import threading
from asyncio import Queue, StreamReader, StreamWriter
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Self

from tests.servers.process import LOOPBACK

TO_SERVER, TO_CLIENT = "to server", "to client"
BOTH_WAYS = frozenset({TO_SERVER, TO_CLIENT})
_CHUNK = 1 << 14
_CHUNKS_UNDER_WAY = 64
_RESET = struct.pack("ii", 1, 0)
_DEADLINE_S = 10


@dataclass(frozen=True, slots=True)
class Weather:
    """What befalls the bytes.

    delay_s: from ... to, each way. One in `stall_one_in` chunks is lost, and comes up to stall_s later; what is behind
    it on its connection waits, as with TCP. silent: the directions in which nothing comes through, not even the end of
    a connection. is_open: whether connections are accepted.
    """

    delay_s: tuple[float, float] = (0, 0)
    stall_one_in: int = 0
    stall_s: float = 0
    bytes_per_second: float = 0
    silent: frozenset[str] = frozenset()
    is_open: bool = True

    def __str__(self) -> str:
        """As in a report: what may come through, and how."""
        shortest, longest = (1000 * seconds for seconds in self.delay_s)
        parts = {
            f"{shortest:.0f} to {longest:.0f} ms late": longest,
            f"one chunk in {self.stall_one_in} up to {self.stall_s:.0f} s late": self.stall_one_in,
            f"{self.bytes_per_second:.0f} bytes a second on each connection": self.bytes_per_second,
        }
        return "each way " + ", ".join(part for part, is_so in parts.items() if is_so)


@dataclass(slots=True, eq=False)
class _Link:
    """One connection of a client: its two halves, and whether nobody will ever hear of it again."""

    writers: list[StreamWriter]
    is_abandoned: bool = False
    pumps: list[asyncio.Task[None]] = field(default_factory=list)


class Proxy:
    """Leads connections to `port` of the loopback interface on to `target`, through its weather."""

    def __init__(self, target: int, port: int, seed: str) -> None:
        self.port, self.target = port, target
        self.connections = 0
        self._chance = random.Random(f"{seed} {target}")
        self._weather = Weather()
        self._changed = asyncio.Event()
        self._links: set[_Link] = set()
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy {port}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._set(Weather()))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def set(self, weather: Weather) -> None:
        """Change the weather. What was withheld by silence comes through where that ends, if not abandoned."""
        self._run(self._set(weather))

    def cut(self) -> int:
        """Reset all connections at both ends; returns how many."""
        return int(self._run(self._cut()))

    def abandon(self) -> int:
        """Forget all connections: both ends believe in them, and nothing ever comes through; returns how many."""
        return int(self._run(self._abandon()))

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_DEADLINE_S)

    async def _set(self, weather: Weather) -> None:
        self._weather = weather
        if weather.is_open and self._server is None:
            self._server = await asyncio.start_server(self._accept, LOOPBACK, self.port)
        elif not weather.is_open and self._server is not None:
            self._server.close()
            self._server = None
        self._changed.set()
        self._changed = asyncio.Event()

    async def _cut(self) -> int:
        cut = [link for link in self._links if not link.is_abandoned]
        for link in cut:
            self._break(link)
        return len(cut)

    async def _abandon(self) -> int:
        abandoned = [link for link in self._links if not link.is_abandoned]
        for link in abandoned:
            link.is_abandoned = True
        return len(abandoned)

    async def _end(self) -> None:
        await self._set(replace(self._weather, is_open=False))
        pumps = [pump for link in self._links for pump in link.pumps]
        for link in list(self._links):
            self._break(link)
        await asyncio.gather(*pumps, return_exceptions=True)

    def _break(self, link: _Link) -> None:
        for writer in link.writers:
            with suppress(OSError):  # it has been closed at its end
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()
        self._forget(link)

    def _forget(self, link: _Link) -> None:
        self._links.discard(link)
        for pump in link.pumps:
            pump.cancel()

    async def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        self.connections += 1
        try:
            from_server, to_server = await asyncio.open_connection(LOOPBACK, self.target)
        except OSError:
            writer.transport.abort()
            return
        link = _Link([writer, to_server])
        self._links.add(link)
        link.pumps = [
            asyncio.create_task(pump)
            for pump in self._both_ways(link, (reader, to_server, TO_SERVER), (from_server, writer, TO_CLIENT))
        ]

    def _both_ways(self, link: _Link, *ways: tuple[StreamReader, StreamWriter, str]) -> list[Coroutine[Any, Any, None]]:
        pumps = []
        for reader, writer, way in ways:
            queue: Queue[tuple[float, bytes]] = Queue(_CHUNKS_UNDER_WAY)
            pumps += [self._take(reader, queue), self._deliver(link, queue, writer, way)]
        return pumps

    async def _take(self, reader: StreamReader, queue: Queue[tuple[float, bytes]]) -> None:
        """Read until the end, which is no bytes, and note when each chunk is to come through."""
        due = 0.0
        chunk = b"to begin with"
        while chunk:
            try:
                chunk = await reader.read(_CHUNK)
            except OSError:
                chunk = b""
            due = max(due, self._loop.time()) if self._weather.bytes_per_second else self._loop.time()
            weather = self._weather
            if weather.bytes_per_second:
                due += len(chunk) / weather.bytes_per_second
            late = self._chance.uniform(*weather.delay_s)
            if weather.stall_one_in and self._chance.randrange(weather.stall_one_in) == 0:
                late += self._chance.uniform(0, weather.stall_s)
            await queue.put((due + late, chunk))

    async def _deliver(self, link: _Link, queue: Queue[tuple[float, bytes]], writer: StreamWriter, way: str) -> None:
        chunk = b"to begin with"
        while chunk:
            due, chunk = await queue.get()
            await asyncio.sleep(due - self._loop.time())
            while link.is_abandoned or way in self._weather.silent:
                await self._changed.wait()
            if chunk:
                writer.write(chunk)
                with suppress(OSError):
                    await writer.drain()
        for each in link.writers:  # neither MySQL's nor Kafka's clients close only one half
            each.close()
        self._forget(link)
