"""Where a WebSocket is blocked: does one that is emulated over HTTP get through, and how (docs/wse.md)?

It is opened by what opens it for a connect, and no service is reached where the far side is an isthmus.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from isthmus.doctor.conversation import Conversation
from isthmus.doctor.fallback import when_blocked
from isthmus.doctor.finding import Finding, Verdict, milliseconds, quoted
from isthmus.doctor.line import Line
from isthmus.doctor.seal import ADVICE, seal, span_of
from isthmus.doctor.websocket import WebSocket
from isthmus.errors import ConnectError
from isthmus.transports import probe
from isthmus.transports.base import Transport
from isthmus.transports.dial import no_answer
from isthmus.transports.ways import Way
from isthmus.transports.wse.dial import EmulationDial
from isthmus.uri import Address
from isthmus.websocket.handshake import HandshakeError

LONGEST_PING = 3.0
"""Seconds that pings over it may take."""


@dataclass(frozen=True, slots=True)
class Emulation:
    """How an emulated WebSocket fared: `way` is how it opened after `seconds`, None where it did not, and
    `error` and the `status` of a refusal say why. `round_trip` is of a ping over it; 0: there was no answer.
    """

    address: Address
    way: Way | None = None
    seconds: float = 0.0
    round_trip: float = 0.0
    error: str = ""
    status: int = 0
    unsealed: bool = False
    """Whether it opened, and is not sealed to the gateway of `--seal-pin`."""


def judge(emulation: Emulation, fallback: str = "") -> Finding:
    """`fallback` is the `ws.fallback` that is needed here; empty: it is done without any setting."""
    facts = {
        "way": "" if emulation.way is None else emulation.way.name.lower(),
        "seconds": round(emulation.seconds, 4),
        "round trip": round(emulation.round_trip, 5),
        "error": emulation.error,
        "ws.fallback": fallback or "auto",
    }
    ask = when_blocked(emulation.address)
    if emulation.way is None:
        seen = f"a WebSocket that is emulated over HTTP does not get through either: {emulation.error}"
        if emulation.unsealed:
            seen = f"emulated over HTTP it opens, and nothing is sent over it: {emulation.error}"
            ask = ADVICE
        match emulation.status:
            case 401:
                seen = "HTTP gets through, to a gateway that asks who we are before it emulates a WebSocket"
                ask = "name the file of a token, or of user:password, with --credentials"
            case 404:
                ask = "check name and path, or ask the gateway's operator for ws.emulation"
        return Finding("emulation", Verdict.FAILED, seen, ask, facts)
    took = f" (a ping takes {milliseconds(emulation.round_trip)})" if emulation.round_trip else ""
    if emulation.way is Way.STREAMING:
        kind, cost = "with a long answer", "each write up waits for the answer to the one before"
    else:
        kind, cost = "with short answers", "each write, up and down, waits for the answer to the one before"
        ask += ", or for answers of HTTP to be passed on as they come"
    seen = f"emulated over HTTP it gets through, {kind}{took}; it is slower: {cost}"
    if fallback:
        ask += f"; until then set ws.fallback to {fallback} (in the file only)"
    return Finding("emulation", Verdict.WARNING, seen, ask, facts)


async def look(line: Line, seconds: float) -> Emulation:
    """Open an emulated WebSocket in `seconds` at most, ping it, and close it."""
    loop = asyncio.get_running_loop()
    opening: asyncio.Future[tuple[Transport, str | None, bytearray]] = loop.create_future()

    def opened(below: Transport, subprotocol: str | None, rest: bytearray) -> None:
        if opening.done():
            below.abort()
        else:
            opening.set_result((below, subprotocol, rest))

    def failed(error: ConnectError) -> None:
        if not opening.done():
            opening.set_exception(error)

    options = line.options.model_copy(update={"connect_timeout": seconds})
    offered = (span_of(line),) if line.options.span_seal_pins else (span_of(line), probe.SUBPROTOCOL)
    dial = EmulationDial(loop, line.asked, options, opened, failed, offered)
    began = loop.time()
    try:
        dial.start(line.door())
        async with asyncio.timeout(seconds + 1.0):
            below, chosen, rest = await opening
    except TimeoutError:
        return _failed(line, no_answer(line.address, seconds))
    except ConnectError as error:
        return _failed(line, error)
    finally:
        if not opening.done() or opening.cancelled():
            dial.cancel()
    took = loop.time() - began
    if line.options.span_seal_pins:
        unsealed = await seal(line, below, chosen, rest, LONGEST_PING)
        below.abort()
        way = None if unsealed else dial.way
        return Emulation(line.address, way, took, error=unsealed, unsealed=bool(unsealed))
    conversation = Conversation()
    conversation.connection_made(below)
    below.set_receiver(conversation)
    socket = WebSocket(conversation, bytes(rest))
    try:
        # Emulated pings have no payload: the first may meet the pong of the one that was opened with.
        pings = [await socket.ping(b"", LONGEST_PING / 2) for _ in range(2)]
    finally:
        socket.close()
    return Emulation(line.address, dial.way, took, max(each or 0.0 for each in pings))


def _failed(line: Line, error: ConnectError) -> Emulation:
    cause = error.__cause__
    if isinstance(cause, HandshakeError):
        return Emulation(line.address, error=quoted(cause.reason, 120), status=cause.status)
    words = str(error).removeprefix(f"Unable to connect to {line.address}: ")
    return Emulation(line.address, error=quoted(words, 120))
