"""The server name in a ClientHello, read before TLS begins (RFC 8446 section 4.1.2, RFC 6066 section 3).

Nothing is verified here: whatever is no ClientHello is left to TLS itself to complain of.
"""

from __future__ import annotations

from dataclasses import dataclass

MAXIMUM_SIZE = 16 * 1024
"""The most that is read for the sake of a name, in bytes. Real ones have 200 to 2,000."""

_HANDSHAKE = b"\x16"  # the type of a record
_CLIENT_HELLO = 1  # the type of a message
_SERVER_NAME, _HOST_NAME = 0, 0
_RECORD_HEAD = 5
_MESSAGE_HEAD = 4


@dataclass(frozen=True, slots=True)
class ClientHello:
    """What was found; `server_name` is None where the client names none, or where this is no ClientHello."""

    server_name: str | None


def parse(data: bytes) -> ClientHello | None:
    """Read what a client has sent so far. Returns None while more is needed; never raises.

    A message may be spread over several records (RFC 8446, section 5.1).
    """
    message = bytearray()
    rest = data
    while _is_short(message):
        wrong = rest[:1] not in (b"", _HANDSHAKE) or (message and message[0] != _CLIENT_HELLO)
        size = int.from_bytes(rest[3:_RECORD_HEAD])
        if wrong or (len(rest) >= _RECORD_HEAD and not size) or len(data) >= MAXIMUM_SIZE:
            return ClientHello(None)
        if len(rest) < _RECORD_HEAD:
            return None
        message += rest[_RECORD_HEAD : _RECORD_HEAD + size]
        rest = rest[_RECORD_HEAD + size :]
    if message[0] != _CLIENT_HELLO:
        return ClientHello(None)
    body = bytes(message[_MESSAGE_HEAD : _MESSAGE_HEAD + int.from_bytes(message[1:4])])
    try:
        return ClientHello(_server_name(_Fields(body)))
    except _Short:
        return ClientHello(None)


def _is_short(message: bytearray) -> bool:
    return len(message) < _MESSAGE_HEAD or len(message) < _MESSAGE_HEAD + int.from_bytes(message[1:4])


class _Short(Exception):
    """A length says more than there is."""


class _Fields:
    """Takes fields off the front."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def take(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._data):
            raise _Short
        found = self._data[self._at : end]
        self._at = end
        return found

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size))

    def block(self, size: int) -> bytes:
        """Take what a length of `size` bytes announces."""
        return self.take(self.number(size))


def _server_name(hello: _Fields) -> str | None:
    hello.take(2 + 32)  # version and random
    hello.block(1)  # session
    hello.block(2)  # cipher suites
    hello.block(1)  # compression
    if not hello:
        return None
    extensions = _Fields(hello.block(2))
    while extensions:
        kind, content = extensions.number(2), _Fields(extensions.block(2))
        if kind != _SERVER_NAME:
            continue
        names = _Fields(content.block(2))
        while names:
            kind, name = names.number(1), names.block(2)
            if kind == _HOST_NAME:
                return name.decode("ascii", "replace").lower()
        return None
    return None
