"""RFC 6455 without input or output, in both roles.

handshake   the HTTP/1.1 exchange that opens a WebSocket, and strict reading of heads
connection  one open WebSocket: messages, pings, half-close
frames      the wire format below it
mask, utf8  what frames need
"""

from isthmus.websocket.connection import Connection, Handler, State
from isthmus.websocket.frames import CloseCode, LocalError, ProtocolError, Role
from isthmus.websocket.handshake import ClientHandshake, HandshakeError, HeadReader, accept_upgrade, refusal

__all__ = [
    "ClientHandshake",
    "CloseCode",
    "Connection",
    "Handler",
    "HandshakeError",
    "HeadReader",
    "LocalError",
    "ProtocolError",
    "Role",
    "State",
    "accept_upgrade",
    "refusal",
]
