"""One connection that is asked things and listened to: the receiver of a line, for code that waits."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from isthmus.errors import ConnectError
from isthmus.transports.base import Connector, Transport
from isthmus.transports.dial import no_answer
from isthmus.uri import Address
from isthmus.websocket.handshake import HandshakeError, HeadReader, ResponseHead, parse_response_head

MAXIMUM_HELD = 1024 * 1024
"""Bytes that wait to be read; more pauses the connection."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """What came at once, and when (the loop's time)."""

    when: float
    data: bytes


class Ended(Exception):
    """The other side has ended the connection, or it was lost."""


class Conversation:
    """The receiver of one connection. `read` waits; nothing else does."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.made: asyncio.Future[Transport] = self._loop.create_future()
        self.opened_after = 0.0
        """Seconds that opening took."""
        self._arrived: list[Arrival] = []
        self._held = 0
        self._news = asyncio.Event()
        self._ended = False
        self.ended_at = 0.0
        self.error: Exception | None = None

    @property
    def transport(self) -> Transport:
        return self.made.result()

    def now(self) -> float:
        """Return the time that arrivals are told in."""
        return self._loop.time()

    def write(self, data: bytes) -> None:
        if not self._ended:
            self.transport.write(data)

    def close(self) -> None:
        """Drop the connection."""
        if self.made.done() and not self.made.cancelled() and self.made.exception() is None:
            self.transport.abort()

    def close_soon(self) -> None:
        """Close in order what is written, and drop it if that takes long."""
        if not self._ended:
            self.transport.close()
            self._loop.call_later(2.0, self.transport.abort)

    async def read(self) -> Arrival:
        """Return what came next. Raises `Ended`."""
        while not self._arrived:
            if self._ended:
                raise Ended
            self._news.clear()
            await self._news.wait()
        arrival = self._arrived.pop(0)
        self._held -= len(arrival.data)
        if self._held < MAXIMUM_HELD and not self._ended:
            self.transport.resume_reading()
        return arrival

    async def head(self) -> tuple[ResponseHead, float, bytes]:
        """Read an answer's head: return it, when it came, and what came behind it.

        Raises `Ended`, or `HandshakeError` for what is no HTTP.
        """
        reader = HeadReader()
        arrival = await self.read()
        data = arrival.data
        while True:
            head = reader.feed(bytearray(data))
            if head is None:
                arrival = await self.read()
                data = arrival.data
                continue
            response = parse_response_head(head)
            data = bytes(reader.rest)
            if not response.interim:
                return response, arrival.when, data

    async def body(self, response: ResponseHead, begun: bytes, most: int, seconds: float) -> bytes:
        """Read what there is of a body, `most` bytes and `seconds` at most; what is missing is not told."""
        length = response.get("content-length")
        wanted = min(int(length), most) if length is not None and length.isdigit() else most
        held = bytearray(begun)
        try:
            async with asyncio.timeout(seconds):
                while len(held) < wanted:
                    held += (await self.read()).data
        except (Ended, TimeoutError):
            pass
        return bytes(held[:wanted])

    # --- the receiver

    def connection_made(self, transport: Transport) -> None:
        if self.made.done():
            transport.abort()
        else:
            self.made.set_result(transport)

    def data_received(self, data: memoryview) -> None:
        self._arrived.append(Arrival(self._loop.time(), bytes(data)))
        self._held += len(data)
        if self._held >= MAXIMUM_HELD:
            self.transport.pause_reading()
        self._news.set()

    def eof_received(self) -> None:
        self._end(None)

    def pause_writing(self) -> None:
        """What is written is bounded by who writes."""

    def resume_writing(self) -> None:
        """See `pause_writing`."""

    def connection_lost(self, error: Exception | None) -> None:
        self._end(error)

    def _end(self, error: Exception | None) -> None:
        if not self._ended:
            self._ended = True
            self.error = error
            self.ended_at = self._loop.time()
        self._news.set()


async def open_conversation(connector: Connector, address: Address, seconds: float) -> Conversation:
    """Connect, in `seconds` at most. Raises `ConnectError`."""
    conversation = Conversation()
    loop = asyncio.get_running_loop()

    def failed(error: ConnectError) -> None:
        if not conversation.made.done():
            conversation.made.set_exception(error)

    began = loop.time()
    dial = connector.connect(conversation, failed)
    try:
        async with asyncio.timeout(seconds):
            await asyncio.shield(conversation.made)
    except TimeoutError:
        raise no_answer(address, seconds) from None
    finally:
        if not conversation.made.done():
            dial.cancel()
            conversation.made.cancel()
    conversation.opened_after = loop.time() - began
    return conversation


__all__ = ["Arrival", "Conversation", "Ended", "HandshakeError", "open_conversation"]
