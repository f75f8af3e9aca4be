"""A program: a TCP relay whose connections can be cut in every way a network cuts them, or be far and slow.

    python span_faults.py LISTEN_PORT TARGET_PORT [--to HOST] [--delay SECONDS] [--rate BYTES]

It obeys lines on standard input, and answers each on standard error with `ok COMMAND`:

    cut KIND [COUNT]      cut the COUNT oldest links, all without it; KIND is one of KINDS
    schedule KINDS AFTER  cut each link, also later ones, AFTER seconds from its recovery, with one of KINDS
    unschedule            let links live
    refuse | accept       reset new connections at once; take them again
    target PORT           join new connections to that port

and says `joined N` for each new link, `recovered N` when bytes have gone up behind an answer of the server,
and `cut N KIND`. It imports nothing of ours, so that it starts quickly and is the same in a namespace.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import socket
import struct
import sys
import time
from collections import deque

HOST = "127.0.0.1"
KINDS = ("fin", "rst", "silence", "half-open", "mid-frame")
"""`fin`, `rst`: both sides. `silence`: no byte passes, nothing is closed. `half-open`: one side is closed,
the other hears nothing. `mid-frame`: some more bytes pass, up to a random one, then `fin` or `rst`."""

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_READ = 1 << 16
_SILENT_KEPT = 40
"""Silent links that are kept; older ones are closed, long after both sides have given them up."""


def say(text: str) -> None:
    """Write a line; its last word is when: seconds since 1970, the last three digits."""
    print(text, f"{time.time() % 1000:.2f}", file=sys.stderr, flush=True)


class Line:
    """One direction of a link: passes bytes on after `delay`, no faster than `rate`."""

    def __init__(self, link: Link, source: socket.socket, target: socket.socket) -> None:
        self.passed = 0
        self.left: int | None = None  # bytes until a cut in mid-frame
        self._link = link
        self._source, self._target = source, target
        faults = link.faults
        self._delay, self._rate = faults.delay, faults.rate
        self._slow = bool(faults.delay or faults.rate)
        self._read = min(_READ, max(1500, int(faults.rate * 0.004))) if faults.rate else _READ
        self._room = int(faults.rate * faults.delay) + faults.queue if faults.rate else 1 << 26
        self._queue: deque[tuple[float, bytes]] = deque()
        self._queued = 0
        self._free_at = 0.0
        self._changed = asyncio.Condition()

    async def read(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._link.open.wait()
            data = await loop.sock_recv(self._source, self._read)
            if not self._slow:
                await self._send(data)
                if not data:
                    return
                continue
            now = loop.time()
            if self._rate:
                self._free_at = max(now, self._free_at) + len(data) / self._rate
            async with self._changed:
                self._queue.append((max(now, self._free_at) + self._delay, data))
                self._queued += len(data)
                self._changed.notify_all()
                if not data:
                    return
                await self._changed.wait_for(lambda: self._queued < self._room)

    async def write(self) -> None:
        """Send what `read` has queued, when it is due."""
        loop = asyncio.get_running_loop()
        while self._slow:
            async with self._changed:
                await self._changed.wait_for(lambda: self._queue)
            due, data = self._queue[0]
            if (wait := due - loop.time()) > 0:
                await asyncio.sleep(wait)
            await self._send(data)
            if not data:
                return
            async with self._changed:
                self._queue.popleft()
                self._queued -= len(data)
                self._changed.notify_all()

    async def _send(self, data: bytes) -> None:
        await self._link.open.wait()
        if not data:
            self._target.shutdown(socket.SHUT_WR)
            return
        if self.left is not None:
            data, self.left = data[: self.left], max(0, self.left - len(data))
        await asyncio.get_running_loop().sock_sendall(self._target, data)
        self.passed += len(data)
        self._link.moved(self)
        if self.left == 0:
            self._link.finish(self._link.faults.chance.choice(["fin", "rst"]))
            await asyncio.Event().wait()


class Link:
    """One accepted connection and the one to the target."""

    def __init__(self, faults: Faults, number: int, client: socket.socket, server: socket.socket) -> None:
        self.faults = faults
        self.number = number
        self.cut_already = False
        self.recovered = False
        self._answered = False
        self._turns = 0
        self.open = asyncio.Event()
        self.open.set()
        self._client, self._server = client, server
        self._up, self._down = Line(self, client, server), Line(self, server, client)
        self._work = asyncio.ensure_future(self._pass())

    async def _pass(self) -> None:
        tasks = [
            asyncio.ensure_future(part)
            for line in (self._up, self._down)
            for part in (line.read(), line.write())
        ]
        try:
            await asyncio.gather(*tasks)
        except OSError:
            self._reset()  # one side was reset: so is the other
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if not self.cut_already:
                self.close()

    def moved(self, line: Line) -> None:
        """Note bytes that were passed on; what goes up behind an answer shows that both sides live."""
        if line is self._down:
            self._answered = True
        elif self._answered:
            self._answered = False
            self._turns += 1
        if not self.recovered and self._turns >= self.faults.turns:
            self.recovered = True
            say(f"recovered {self.number}")
            self.schedule()

    def schedule(self) -> None:
        """Cut this link when it is due."""
        if self.recovered and self.faults.kinds:
            asyncio.get_running_loop().call_later(self.faults.after, self._due)

    def _due(self) -> None:
        if self.faults.kinds and not self.cut_already:
            self.cut(self.faults.next_kind())

    def cut(self, kind: str) -> None:
        """Cut now; in mid-frame, after some more bytes."""
        if self.cut_already:
            return
        if kind == "mid-frame":
            chance = self.faults.chance
            chance.choice([self._up, self._down]).left = chance.randrange(1, 3000)
            # Where nothing moves there is no frame to be cut.
            asyncio.get_running_loop().call_later(2, self.finish, "rst")
            say(f"cut {self.number} {kind}")
            return
        say(f"cut {self.number} {kind}")
        self.finish(kind)

    def finish(self, kind: str) -> None:
        if self.cut_already:
            return
        self.cut_already = True
        self.open.clear()
        if kind == "silence":
            self.faults.silent(self)
            return
        self._work.cancel()
        asyncio.ensure_future(self._end(kind))  # noqa: RUF006 - the loop lives as long as the program

    async def _end(self, kind: str) -> None:
        await asyncio.gather(self._work, return_exceptions=True)
        if kind == "rst":
            self._reset()
        elif kind == "fin":
            await asyncio.gather(*map(_end_in_order, (self._client, self._server)))
        else:
            ended, left = self._client, self._server
            if self.faults.chance.random() < 0.5:
                ended, left = left, ended
            assert left is not ended
            await _end_in_order(ended)
            self.faults.silent(self)

    def close(self) -> None:
        self.cut_already = True
        self._work.cancel()
        self._client.close()
        self._server.close()
        self.faults.links.pop(self.number, None)

    def _reset(self) -> None:
        for end in (self._client, self._server):
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.close()


async def _end_in_order(end: socket.socket) -> None:
    """Close with FIN: unread bytes would make it a reset."""
    with contextlib.suppress(OSError, TimeoutError):
        end.shutdown(socket.SHUT_WR)
        async with asyncio.timeout(5):
            while await asyncio.get_running_loop().sock_recv(end, _READ):
                pass
    end.close()


class Faults:
    """The relay: its links, and what is to become of them."""

    def __init__(self, settings: argparse.Namespace) -> None:
        self.delay: float = settings.delay
        self.rate: float = settings.rate
        self.queue: int = settings.queue
        self.turns: int = settings.turns
        self.chance = random.Random(settings.seed)
        self.links: dict[int, Link] = {}
        self.kinds: list[str] = []
        self.after = 0.0
        self._coming: list[str] = []
        self._silent: deque[Link] = deque()
        self._target: int = settings.target
        self._host: str = settings.to
        self._buffer: int = settings.buffer
        self._refuses = False
        self._made = 0

    def next_kind(self) -> str:
        """Return a kind of cut; all that are wanted come before one comes again."""
        if not self._coming:
            self._coming = self.chance.sample(self.kinds, len(self.kinds))
        return self._coming.pop()

    def silent(self, link: Link) -> None:
        self._silent.append(link)
        if len(self._silent) > _SILENT_KEPT:
            self._silent.popleft().close()

    async def accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        waiting: set[asyncio.Task[None]] = set()
        while True:
            client, _ = await loop.sock_accept(listener)
            task = asyncio.ensure_future(self._join(client))
            waiting.add(task)
            task.add_done_callback(waiting.discard)

    async def _join(self, client: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        server = socket.socket()
        try:
            if self._refuses:
                raise ConnectionRefusedError
            server.setblocking(False)
            for end in (client, server):
                if self._buffer:
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._buffer)
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._buffer)
            await loop.sock_connect(server, (self._host, self._target))
            if self._refuses:
                raise ConnectionRefusedError
        except OSError:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            client.close()
            server.close()
            return
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._made += 1
        say(f"joined {self._made}")
        self.links[self._made] = Link(self, self._made, client, server)

    def obey(self, command: str) -> None:
        """Do what a line of standard input says."""
        match command.split():
            case ["cut", kind, *count]:
                living = [link for link in self.links.values() if not link.cut_already]
                for link in living[: int(count[0])] if count else living:
                    link.cut(kind)
            case ["schedule", kinds, after]:
                self.kinds, self.after, self._coming = kinds.split(","), float(after), []
                for link in list(self.links.values()):
                    link.schedule()
            case ["unschedule"]:
                self.kinds = []
            case ["refuse"]:
                self._refuses = True
            case ["accept"]:
                self._refuses = False
            case ["target", port]:
                self._target = int(port)
            case _:
                raise ValueError(command)
        say(f"ok {command}")


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("listen", type=int)
    parser.add_argument("target", type=int)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds, one way")
    parser.add_argument("--rate", type=float, default=0.0, help="bytes a second, each way of each connection")
    parser.add_argument("--queue", type=int, default=1 << 18, help="bytes that may wait beyond the delay")
    parser.add_argument("--buffer", type=int, default=0, help="of each socket, in bytes; 0: the kernel's own")
    parser.add_argument(
        "--turns", type=int, default=1, help="answers that are replied to until it is recovered"
    )
    parser.add_argument("--to", default=HOST, help="the target's address")
    parser.add_argument("--seed", type=int, default=1)
    settings = parser.parse_args()
    faults = Faults(settings)
    listener = socket.create_server((HOST, settings.listen), backlog=256)
    listener.setblocking(False)
    say("listening")
    loop = asyncio.get_running_loop()
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    accepting = asyncio.ensure_future(faults.accept(listener))
    while line := await commands.readline():
        faults.obey(line.decode().strip())
    accepting.cancel()


if __name__ == "__main__":
    asyncio.run(main())
