"""Sealed carriers, where `--seal-pin` asks for them: is it sealed, and to the right gateway (docs/span.md)?

Nothing but TLS is said inside: there is no session, and no service is reached.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from isthmus.doctor.line import Line
from isthmus.span.frames import SEALED_SUBPROTOCOL, SUBPROTOCOL
from isthmus.transports.base import Transport
from isthmus.websocket.frames import Role

NOT_SPOKEN = "the server does not speak sealed span, or its subprotocol is stripped"
ADVICE = (
    "compare --seal-pin with what isthmus seal says of the server gateway's span.seal.key; if they are the "
    "same, somebody on the way is between them"
)


def span_of(line: Line) -> str:
    """Return the subprotocol by which a connect offers span on this line."""
    return SEALED_SUBPROTOCOL if line.options.span_seal_pins else SUBPROTOCOL


async def seal(line: Line, below: Transport, chosen: str | None, rest: Sequence[int], seconds: float) -> str:
    """Return why an open WebSocket cannot be sealed to a gateway of the line's pins; empty: it can.

    `below` is what the WebSocket is on, `rest` the bytes that came behind its handshake. It is not used
    afterwards: the caller drops it.
    """
    from isthmus.security.seal import client_context  # with its libraries: only sealing pays
    from isthmus.transports.span.seal import Sealing

    if chosen != SEALED_SUBPROTOCOL:
        return NOT_SPOKEN
    outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def tell(why: str) -> None:
        if not outcome.done():
            outcome.set_result(why)

    sealing = Sealing(
        Role.CLIENT,
        client_context(),
        lambda inside: tell(""),
        lambda why, cause: tell(why),
        seconds,
        line.options.span_seal_pins,
    )
    sealing.start(below, bytearray(rest))
    try:
        return await outcome
    finally:
        sealing.cancel()
