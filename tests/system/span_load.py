"""A program: many conversations at once, random both ways, each byte checked, opening and closing always.

    python span_load.py serve HOST PORT
    python span_load.py talk HOST PORT --streams N --seconds S --rate BYTES --largest BYTES --seed N

`talk` keeps N conversations going for S seconds, lets the last ones end, and writes one JSON object:
`conversations` that ended well, `up` and `down` bytes, `errors` (texts), `longest_wait`: the longest time in
seconds that any end of a conversation here waited to send or for bytes that it was due, `longest_ended`: when
(seconds since 1970), `waits`: how many waited longer than a second, `stuck`: how many never ended. `serve`
writes the same when its standard input ends. It imports nothing of ours.

A conversation begins with a head: seed, sizes, pace and manner. Both sides make the same random bytes from
the seed, and compare what comes with them.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import struct
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

_HEAD = struct.Struct(">QQQIB")
_BLOCK = 16_384
_LONGEST_PAUSE = 0.1
MANNERS = ("both end", "the client waits", "the server waits", "turns")
"""Who ends first; `turns`: the server answers block for block."""


@dataclass(frozen=True)
class Talk:
    """One conversation. Sizes are in bytes, `pace` in bytes a second each way, `manner` indexes MANNERS."""

    seed: int
    up: int
    down: int
    pace: int
    manner: int

    def head(self) -> bytes:
        return _HEAD.pack(self.seed, self.up, self.down, self.pace, self.manner)


@dataclass
class Report:
    """What was seen at this end."""

    conversations: int = 0
    up: int = 0
    down: int = 0
    longest_wait: float = 0.0
    longest_ended: float = 0.0
    waits: int = 0
    stuck: int = 0
    errors: list[str] = field(default_factory=list)

    def waited(self, seconds: float) -> None:
        if seconds > self.longest_wait:
            self.longest_wait, self.longest_ended = seconds, time.time()
        self.waits += seconds > 1


def blocks(seed: str, size: int, largest: int = _BLOCK) -> Iterator[bytes]:
    """Yield the bytes of one direction."""
    chance = random.Random(seed)
    while size > 0:
        block = chance.randbytes(min(size, largest))
        size -= len(block)
        yield block


class Side:
    """One end of a conversation."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, report: Report) -> None:
        self._reader, self._writer, self._report = reader, writer, report
        self._sent_at = 0.0  # when all of ours was sent

    async def play(self, talk: Talk, *, client: bool) -> None:
        """Send ours and check theirs. Raises OSError, EOFError or ValueError for what must not be."""
        ours, theirs = (f"{talk.seed}/up", talk.up), (f"{talk.seed}/down", talk.down)
        if not client:
            ours, theirs = theirs, ours
        block = max(1, min(_BLOCK, int(talk.pace * _LONGEST_PAUSE)))
        mine, due = blocks(*ours, block), blocks(*theirs, block)
        manner = MANNERS[talk.manner]
        if manner == "turns":
            for number, (sent, expected) in enumerate(zip(mine, due, strict=True)):
                if client:
                    await self._send(sent, talk.pace)
                await self._check(expected, number)
                if not client:
                    await self._send(sent, 0)
            self._writer.write_eof()
        elif manner == ("the client waits" if client else "the server waits"):
            await self._receive(due)
            await self._send_all(mine, talk.pace)
        else:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._send_all(mine, talk.pace))
                both.create_task(self._receive(due, behind_ours=manner != "both end"))
        await self._end()
        self._report.conversations += 1
        self._report.up += talk.up
        self._report.down += talk.down

    async def _send_all(self, mine: Iterator[bytes], pace: int) -> None:
        for block in mine:
            await self._send(block, pace)
        self._writer.write_eof()
        self._sent_at = time.monotonic()

    async def _send(self, block: bytes, pace: int) -> None:
        before = time.monotonic()
        self._writer.write(block)
        await self._writer.drain()
        self._report.waited(time.monotonic() - before)
        if pace:
            await asyncio.sleep(len(block) / pace)

    async def _receive(self, due: Iterator[bytes], *, behind_ours: bool = False) -> None:
        for number, expected in enumerate(due):
            await self._check(expected, number, behind_ours=behind_ours)
        await self._end()

    async def _check(self, expected: bytes, number: int, *, behind_ours: bool = False) -> None:
        before = time.monotonic()
        got = await self._reader.readexactly(len(expected))
        # A peer that first waits for all of ours is not late until it has that.
        began = max(before, self._sent_at) if behind_ours else before
        self._report.waited(time.monotonic() - began)
        if got != expected:
            raise ValueError(f"block {number} is not what was sent")

    async def _end(self) -> None:
        if more := await self._reader.read(1):
            raise ValueError(f"{more!r} came behind the end")


async def serve(arguments: argparse.Namespace) -> None:
    report = Report()

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name = "before the head"
        try:
            talk = Talk(*_HEAD.unpack(await reader.readexactly(_HEAD.size)))
            name = str(talk)
            await Side(reader, writer, report).play(talk, client=False)
        except asyncio.CancelledError:
            report.stuck += 1
        except BaseException as error:
            report.errors.append(f"server, {name}: {told(error)}")
        finally:
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    server = await asyncio.start_server(conversation, arguments.host, arguments.port, backlog=512)
    print("serving", file=sys.stderr, flush=True)
    commands = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    await commands.read()
    server.close()
    print(json.dumps(asdict(report)), flush=True)


async def talk(arguments: argparse.Namespace) -> None:
    report = Report()
    chance = random.Random(arguments.seed)
    pace = max(1, arguments.rate // arguments.streams)
    until = time.monotonic() + arguments.seconds
    lasting = arguments.largest

    def plan() -> Talk:
        manner = chance.randrange(len(MANNERS))
        up, down = (
            min(int(2 ** chance.uniform(0, 40)), chance.randrange(1, max(2, lasting))) for _ in range(2)
        )
        if MANNERS[manner] == "turns":
            up = down = min(up, down)
        return Talk(chance.getrandbits(64), up, down, pace, manner)

    async def one() -> None:
        while time.monotonic() < until:
            its = plan()
            try:
                before = time.monotonic()
                reader, writer = await asyncio.open_connection(arguments.host, arguments.port)
                try:
                    writer.write(its.head())
                    await writer.drain()
                    await Side(reader, writer, report).play(its, client=True)
                finally:
                    writer.close()
                    with contextlib.suppress(OSError):
                        await writer.wait_closed()
            except asyncio.CancelledError:
                report.stuck += 1
                report.errors.append(f"client, {its}: not over after {time.monotonic() - before:.1f} s")
                raise
            except BaseException as error:
                report.errors.append(
                    f"client, {its}, {arguments.seconds - (until - time.monotonic()):.1f} s: {told(error)}"
                )
                if len(report.errors) > 100:
                    return
                await asyncio.sleep(0.1)

    print("talking", file=sys.stderr, flush=True)
    running = [asyncio.ensure_future(one()) for _ in range(arguments.streams)]
    _, late = await asyncio.wait(running, timeout=arguments.seconds + arguments.patience)
    for task in late:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    print(json.dumps(asdict(report)), flush=True)


def told(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(map(told, error.exceptions))
    return f"{type(error).__name__}: {error}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["serve", "talk"])
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--streams", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rate", type=int, default=5_000_000, help="bytes a second, of all, each way")
    parser.add_argument("--largest", type=int, default=200_000, help="bytes of one conversation, each way")
    parser.add_argument("--patience", type=float, default=45.0, help="seconds for the last ones to end")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    asyncio.run(serve(arguments) if arguments.role == "serve" else talk(arguments))


if __name__ == "__main__":
    main()
