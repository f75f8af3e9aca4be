"""What `isthmus doctor` asks a gateway in order to examine the way to it: small, and bounded for everybody.

    asked for, at a ws or wss accept            answered with
    ------------------------------------------------------------------------------------------------
    GET PATH/;probe/mirror                      what arrived of the request, as JSON
    GET PATH/;probe/stream                      `PIECES` short pieces, one every `GAP` seconds
    a WebSocket, subprotocol probe.isthmus.v1   bytes down and up, as many as are granted: `Talk`

A realm asks for the same login as for the service itself; the service's destination is never reached. Nothing
is answered beyond `doctor.maximum.probes` at once and `doctor.maximum.rate`, `doctor.probe` turns all of it
off.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from isthmus.transports.base import Receiver, Transport, peer_name
from isthmus.websocket.handshake import HandshakeError, RequestHead

SUBPROTOCOL = "probe.isthmus.v1"
PLACE = "/;probe/"
MIRROR, STREAM = "mirror", "stream"
PIECES, GAP = 6, 0.2
MAXIMUM_BYTES = 4 * 1024 * 1024
"""The most that one probe is granted, each way."""
LONGEST = 900.0
"""Seconds that a probe's WebSocket may stay, also a silent one."""
MIRRORED = (
    "upgrade",
    "connection",
    "sec-websocket-version",
    "sec-websocket-protocol",
    "sec-websocket-extensions",
)
"""Fields whose values are told; of no other not even the name."""
_LONGEST_VALUE = 200
_BURST_SECONDS = 4.0
_BLOCK = os.urandom(64 * 1024)
"""What is sent down: nothing on the way can compress it."""


class Probes:
    """The probes of a whole gateway: `maximum` at once, `rate` bytes a second of them all.

    A rest of four seconds' worth may be moved at once.
    """

    def __init__(self, maximum: int, rate: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.maximum = maximum
        self.used = 0
        self._rate = rate
        self._clock = clock
        self._left = rate * _BURST_SECONDS
        self._when = clock()

    def enter(self) -> bool:
        """Take a place; False where there is none."""
        if self.used >= self.maximum:
            return False
        self.used += 1
        return True

    def leave(self) -> None:
        self.used -= 1

    def grant(self, wanted: int) -> int:
        """Return how many of `wanted` bytes may be moved now."""
        now = self._clock()
        self._left = min(self._rate * _BURST_SECONDS, self._left + (now - self._when) * self._rate)
        self._when = now
        granted = min(wanted, int(self._left))
        self._left -= granted
        return granted


def asked_for(request: RequestHead) -> tuple[str, str] | None:
    """Return the accept's path and what is asked for there; None where a request is not for a probe."""
    base, place, name = request.path.rpartition(PLACE)
    if not place or name not in (MIRROR, STREAM):
        return None
    return base or "/", name


def answer(
    name: str,
    request: RequestHead,
    transport: Transport,
    probes: Probes,
    *,
    client: Any,
    span: bool,
    certificates: Sequence[str],
) -> None:
    """Answer a request that `asked_for` has recognised, and end the connection.

    `client` is who asks, `span` whether the accept speaks it, `certificates` what TLS shows here (SHA-256).
    Raises `HandshakeError` with what to refuse it with.
    """
    if request.method != "GET":
        raise HandshakeError(405, "a probe is asked with GET", (("Allow", "GET"),))
    if name == MIRROR:
        body = mirror(
            request, transport.info("ssl_object"), client=client, span=span, certificates=certificates
        )
        transport.write(_head("application/json", f"Content-Length: {len(body)}") + body)
        transport.close()
        return
    if not probes.enter():
        raise HandshakeError(503, "too many probes at once")
    stream = Stream(transport, probes)
    transport.set_receiver(stream)
    stream.start()


def mirror(
    request: RequestHead, tls: Any, *, client: Any, span: bool, certificates: Sequence[str], now: float = 0.0
) -> bytes:
    """Return what a client is told of its own request, and the time here."""
    fields = {
        name: ", ".join(request.get_all(name))[:_LONGEST_VALUE] for name in MIRRORED if request.get(name)
    }
    told = {
        "probe": 1,
        "fields": fields,
        "client": peer_name(client),
        "tls": tls.version() if tls is not None else None,
        "certificates": list(certificates),
        "span": span,
        "time": round(now or time.time(), 3),
    }
    return json.dumps(told).encode() + b"\n"


def _head(kind: str, *fields: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", f"Content-Type: {kind}", *fields]
    lines += ["Cache-Control: no-store", "X-Content-Type-Options: nosniff", "Connection: close"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class _Probing:
    """A receiver that holds a place among the probes until its connection is over."""

    def __init__(self, probes: Probes) -> None:
        self._probes: Probes | None = probes
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None: ...
    def data_received(self, data: memoryview) -> None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...
    def eof_received(self) -> None: ...

    def connection_lost(self, error: Exception | None) -> None:
        probes, self._probes = self._probes, None
        if probes is not None:
            probes.leave()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Stream(_Probing):
    """A response in pieces with pauses between, each of which says when it was sent."""

    def __init__(self, transport: Transport, probes: Probes) -> None:
        super().__init__(probes)
        self._transport = transport
        self._sent = 0

    def start(self) -> None:
        self._transport.write(_head("text/plain", "Transfer-Encoding: chunked"))
        self._piece()
        self._transport.resume_reading()

    def _piece(self) -> None:
        loop = asyncio.get_running_loop()
        if self._sent == PIECES:
            self._timer = None
            self._transport.write(b"0\r\n\r\n")
            self._transport.close()
            return
        line = b"piece %d\n" % self._sent
        self._transport.write(b"%x\r\n%b\r\n" % (len(line), line))
        self._sent += 1
        self._timer = loop.call_later(GAP if self._sent < PIECES else 0.0, self._piece)

    def eof_received(self) -> None:
        self._transport.abort()


class Talk(_Probing):
    """The gateway's side of a probe's WebSocket: `D` or `U` and a number of bytes (32 bits) are asked for.

        client                    gateway
        ------------------------------------------------------------
        D number                  d granted, then so many bytes
        U number                  u granted
        so many bytes             e, when all have come

    Each way `MAXIMUM_BYTES` are granted at most, and what `Probes` allows. Whatever else comes ends it.
    """

    def __init__(self, probes: Probes) -> None:
        super().__init__(probes)
        self._transport: Transport | None = None
        self._request = bytearray()
        self._left = {b"D": MAXIMUM_BYTES, b"U": MAXIMUM_BYTES}
        self._to_send = 0
        self._to_come = 0
        self._blocked = False

    def connection_made(self, transport: Transport) -> None:
        self._transport = transport
        self._timer = asyncio.get_running_loop().call_later(LONGEST, transport.close)

    def data_received(self, data: memoryview) -> None:
        transport = self._transport
        if transport is None:
            return
        while len(data):
            if self._to_come:
                taken = min(self._to_come, len(data))
                self._to_come -= taken
                data = data[taken:]
                if not self._to_come:
                    transport.write(b"e")
                continue
            taken = min(5 - len(self._request), len(data))
            self._request += data[:taken]
            data = data[taken:]
            if self._to_send or bytes(self._request[:1]) not in self._left:
                self._transport = None
                transport.abort()
                return
            if len(self._request) == 5:
                self._asked(transport, bytes(self._request[:1]), int.from_bytes(self._request[1:], "big"))
                self._request.clear()

    def _asked(self, transport: Transport, way: bytes, wanted: int) -> None:
        granted = self._probes.grant(min(wanted, self._left[way])) if self._probes is not None else 0
        self._left[way] -= granted
        transport.write(way.lower() + granted.to_bytes(4, "big"))
        if way == b"D":
            self._to_send = granted
            self._send()
        else:
            self._to_come = granted

    def _send(self) -> None:
        while self._to_send and not self._blocked and self._transport is not None:
            block = _BLOCK[: self._to_send]
            self._to_send -= len(block)
            self._transport.write(block)

    def pause_writing(self) -> None:
        self._blocked = True

    def resume_writing(self) -> None:
        self._blocked = False
        self._send()

    def eof_received(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        super().connection_lost(error)


def talk(probes: Probes) -> Receiver:
    """Return what drives a probe's WebSocket. Raises `HandshakeError` where there is no place for it."""
    if not probes.enter():
        raise HandshakeError(503, "too many probes at once")
    return Talk(probes)
