"""WebSocket emulation over HTTP (WSE) without input or output, both roles: a WebSocket where none may pass.

encodings    the six ways in which frames are bytes of a body
frames       the frames themselves, written and read
translation  from the frames of RFC 6455 to these, and back: what is above never knows
requests     create, upstream and downstream: paths, sequence numbers, heads
bodies       the bodies of HTTP messages, however they are framed and cut

The public text is specification/wse/SPEC.md of k3po/k3po; docs/wse.md says what is done where it leaves room,
and where Kaazing's own gateway differs from it.
"""

from isthmus.websocket.frames import CloseCode, ProtocolError


class EmulationError(ProtocolError):
    """The peer broke the emulation: what it sent cannot be read. The WebSocket is lost."""

    def __init__(self, reason: str) -> None:
        super().__init__(CloseCode.PROTOCOL_ERROR, reason)
