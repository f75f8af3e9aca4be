"""A client of span that says whatever a test wants, over a real WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

from tests.flow.gateways import HOST
from tests.span.test_reader import Sink
from tests.transports.loops import PATIENCE
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from isthmus.span import frames as f
from isthmus.span.frames import Join, Settings, Type, Welcome
from isthmus.span.proofs import client_proof
from isthmus.span.reader import FrameReader

Frame = tuple[Any, ...]
NONCE = bytes(range(16))


class Hostile:
    """One carrier, spoken to by hand."""

    def __init__(self, websocket: ClientConnection) -> None:
        self.websocket = websocket
        self.nonce = b""  # of the server's HELLO
        self.settings: Settings
        self.welcome: Welcome
        self._heard: deque[Frame] = deque()
        self._sink = _Sink()
        self._sink.reader = self._reader = FrameReader(self._sink, maximum_message=1 << 20)

    async def say(self, *frames: bytes) -> None:
        """Send frames as one message."""
        with contextlib.suppress(ConnectionClosed):
            await self.websocket.send(b"".join(frames))

    async def hear(self, *kinds: int) -> Frame:
        """Return the next frame of these types; others before it are dropped."""
        async with asyncio.timeout(PATIENCE):
            while True:
                while self._heard:
                    frame = self._heard.popleft()
                    if frame[0] in kinds:
                        return frame
                await self._receive()

    async def ended(self) -> int | None:
        """Read until the gateway has closed this carrier; return the close code."""
        with contextlib.suppress(ConnectionClosed):
            async with asyncio.timeout(PATIENCE):
                while True:
                    await self._receive()
        return self.websocket.close_code

    async def refused(self) -> int:
        """Return the code of the REFUSED that comes."""
        _, _, payload = await self.hear(Type.REFUSED)
        return f.parse_refused(payload)[0]

    async def greeted(self) -> None:
        _, _, payload = await self.hear(Type.HELLO)
        self.nonce, self.settings, _ = f.parse_hello(payload)

    async def found(self, settings: Settings | None = None) -> None:
        """Open a session."""
        await self.say(f.new(NONCE, settings or Settings()))
        _, _, payload = await self.hear(Type.WELCOME)
        self.welcome = f.parse_welcome(payload)

    def join(self, welcome: Welcome, slot: int, epoch: int, fences: bytes = b"", /, **changes: Any) -> bytes:
        """Return JOIN, or RESUME with `fences`; `changes` spoil it after the proof was made."""
        request = Join(welcome.session, welcome.place, slot, epoch, os.urandom(16), bytes(32), fences)
        secret = changes.pop("secret", welcome.secret)
        nonce = changes.pop("nonce_of_server", self.nonce)
        request = request._replace(proof=client_proof(secret, request, nonce))._replace(**changes)
        return f.resume(request) if fences else f.join(request)

    async def resume(self, welcome: Welcome, epoch: int) -> None:
        """Resume a session, all slots given up, without streams."""
        await self.say(self.join(welcome, 0, epoch, bytes(range(16))))
        await self.hear(Type.WELCOME)

    async def _receive(self) -> None:
        message = await self.websocket.recv()
        assert isinstance(message, bytes)
        self._reader.receive(bytearray(message), True)
        self._heard += self._sink.seen
        self._sink.seen = []


class _Sink(Sink):
    """WELCOME ends the handshake, also for what is in the same message."""

    reader: FrameReader

    def frame_received(self, kind: int, stream: int, payload: bytes) -> None:
        super().frame_received(kind, stream, payload)
        if kind == Type.WELCOME:
            self.reader.handshaking = False


@contextlib.asynccontextmanager
async def hostile(port: int, path: str = "/tunnel") -> AsyncIterator[Hostile]:
    """Open a carrier that has heard HELLO and said nothing."""
    offer = [Subprotocol(f.SUBPROTOCOL)]
    uri = f"ws://{HOST}:{port}{path}"
    async with connect(uri, subprotocols=offer, proxy=None, compression=None, close_timeout=1) as websocket:
        assert websocket.subprotocol == f.SUBPROTOCOL
        carrier = Hostile(websocket)
        await carrier.greeted()
        yield carrier
