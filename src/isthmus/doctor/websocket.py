"""A WebSocket for code that waits: pings, bytes in order, and how it ended."""

from __future__ import annotations

import asyncio

from isthmus.doctor.conversation import Conversation, Ended
from isthmus.doctor.line import Line
from isthmus.doctor.upgrade import Answer, shake_hands
from isthmus.websocket.connection import Connection, Handler
from isthmus.websocket.frames import ProtocolError, Role

MAXIMUM_MESSAGE = 1 << 20


class WebSocket(Handler):
    """An open WebSocket over a conversation. It never sends a ping unless it is told to."""

    def __init__(self, conversation: Conversation, rest: bytes) -> None:
        self._conversation = conversation
        self._connection = Connection(Role.CLIENT, self, maximum_message_size=MAXIMUM_MESSAGE)
        self._pongs: dict[bytes, float] = {}
        self._data = bytearray()
        self.received = 0
        self.ended = ""
        """How it ended; empty while it stands."""
        self._when = conversation.now()
        self._take(rest)

    async def ping(self, payload: bytes, seconds: float) -> float | None:
        """Return after how many seconds a ping was answered; None where that is not within `seconds`."""
        if self.ended:
            return None
        began = self._conversation.now()
        self._pongs.pop(payload, None)
        self._conversation.write(self._connection.send_ping(payload))
        try:
            async with asyncio.timeout(seconds):
                while payload not in self._pongs and not self.ended:
                    await self.hear()
        except TimeoutError:
            return None
        return self._pongs[payload] - began if payload in self._pongs else None

    def send(self, data: bytes) -> None:
        for buffer in self._connection.send_data(data):
            self._conversation.write(bytes(buffer))

    def take(self, most: int) -> bytes:
        """Return at most `most` of the bytes that came and were not taken yet."""
        taken = bytes(self._data[:most])
        del self._data[:most]
        return taken

    async def hear(self) -> float:
        """Wait for something to come, or for the end; return when it came."""
        try:
            arrival = await self._conversation.read()
        except Ended:
            self.ended = self.ended or (
                "reset" if self._conversation.error is not None else "ended without Close"
            )
            return self._conversation.ended_at
        self._when = arrival.when
        self._take(arrival.data)
        return arrival.when

    def close(self) -> None:
        if not self.ended:
            self._conversation.write(self._connection.send_close(1000))
        self._conversation.close_soon()

    def now(self) -> float:
        return self._conversation.now()

    def _take(self, data: bytes) -> None:
        try:
            self._connection.receive(memoryview(bytearray(data)))
        except ProtocolError as error:
            self.ended = f"broken: {error}"

    # --- the handler of the connection

    def message_data(self, data: memoryview, final: bool) -> None:
        self.received += len(data)
        if len(self._data) + len(data) <= MAXIMUM_MESSAGE:
            self._data += data

    def pong_received(self, payload: bytes) -> None:
        self._pongs[payload] = self._when

    def close_received(self, code: int | None, reason: str) -> None:
        self.ended = f"closed with {code}" if code is not None else "closed"

    def control(self, buffer: bytes) -> None:
        self._conversation.write(buffer)


async def open_websocket(line: Line, subprotocol: str, seconds: float) -> tuple[WebSocket | None, Answer]:
    """Open a WebSocket with a subprotocol ("": none). Raises `ConnectError` where nothing is reached."""
    conversation = await line.talk(seconds)
    offered = (subprotocol,) if subprotocol else ()
    answer, rest = await shake_hands(line, conversation, offered, seconds)
    if not answer.opened:
        conversation.close()
        return None, answer
    return WebSocket(conversation, rest), answer
