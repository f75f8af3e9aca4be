"""HTTP/1.1 message heads, read strictly (RFC 9112 sections 2 to 6).

Requests are smuggled past a gateway in heads that can be read in two ways, so what is ambiguous is refused:
bare CR or LF, folded lines, space before a colon, several Content-Length, or one beside Transfer-Encoding.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeAlias

from isthmus.errors import WebSocketError
from isthmus.websocket.mask import Buffer

MAXIMUM_HEAD_SIZE = 16 * 1024
MAXIMUM_FIELDS = 100
MAXIMUM_TARGET_SIZE = 8 * 1024

Headers: TypeAlias = tuple[tuple[str, str], ...]

TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # RFC 9110 5.6.2
FIELD_VALUE = r"[\t\x20-\x7e\x80-\xff]*"  # RFC 9110 5.5, decoded as Latin-1

_REQUEST_LINE = re.compile(rf"({TOKEN}) (\S+) HTTP/([0-9])\.([0-9])")
_STATUS_LINE = re.compile(rf"HTTP/([0-9])\.([0-9]) ([1-9][0-9][0-9])(?: ({FIELD_VALUE}))?")
# The possessive `*+` keeps a line of spaces that ends wrongly from taking quadratic time.
_FIELD = re.compile(rf"({TOKEN}):[ \t]*+({FIELD_VALUE})")
_METHOD = re.compile(TOKEN)
# Wider than RFC 3986 by what browsers leave unescaped in a query: | ^ ` { } [ ]
_TARGET = re.compile(r"[!$-;=?-\[\]^-~]+")
_HOST = re.compile(
    r"(?:[A-Za-z0-9._~!$&'()*+,;=%-]+|\[[0-9A-Fa-f:.]+(?:%25[A-Za-z0-9._~-]+)?\])(?::([0-9]{0,5}))?"
)
_BARE_LF = re.compile(rb"(?<!\r)\n")


class HandshakeError(WebSocketError):
    """A handshake cannot go on.

    On the server's side `status`, `reason` and `headers` are the answer to give, see `refusal`. On the
    client's side they are what the server answered, or 502 when that was not HTTP or not a right handshake.
    """

    status: int
    reason: str
    headers: Headers

    def __init__(self, status: int, reason: str, headers: Headers = ()) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = headers


class HandshakeRefused(HandshakeError):
    """A server has answered with another status than the handshake asks for: `status` is its own."""


def phrase(status: int) -> str:
    """Return the standard reason phrase of a status, or an empty text if it has none."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


@dataclass(frozen=True, slots=True)
class Head:
    """What requests and responses share. `headers` are (lower-case name, value) in the order sent."""

    version: tuple[int, int]
    headers: Headers

    def get(self, name: str) -> str | None:
        """Return the first value of the field `name` (lower case), or None."""
        return next((value for key, value in self.headers if key == name), None)

    def get_all(self, name: str) -> list[str]:
        """Return the values of all fields called `name` (lower case)."""
        return [value for key, value in self.headers if key == name]

    def tokens(self, name: str) -> list[str]:
        """Return the elements of the comma-separated lists in all fields `name`, without empty ones."""
        return list(_elements(self.get_all(name)))

    def has_token(self, name: str, token: str) -> bool:
        """Whether the lists in the fields `name` have the element `token` (lower case), in whatever case."""
        return any(element.lower() == token for element in _elements(self.get_all(name)))


@dataclass(frozen=True, slots=True)
class RequestHead(Head):
    """The head of a request.

    `target` is as sent; `path` and `query` are its parts, still percent-encoded. `host`, with the port if
    there is one, is in lower case; it comes from an absolute target, which wins, else from Host, else it is
    empty.
    """

    method: str
    target: str
    path: str
    query: str
    host: str


@dataclass(frozen=True, slots=True)
class ResponseHead(Head):
    """The head of a response."""

    status: int
    reason: str

    @property
    def interim(self) -> bool:
        """Whether another head follows for the same request (RFC 9110 15.2): 1xx other than 101."""
        return 100 <= self.status < 200 and self.status != 101


class HeadReader:
    """Collects one head from the bytes that come, however they are cut; keeps at most `maximum_size` bytes.

    After `feed` has returned the head, `rest` is what came behind it in the same call, writable, and the
    reader is ready for another head.
    """

    __slots__ = ("_buffer", "_maximum", "rest")

    def __init__(self, maximum_size: int = MAXIMUM_HEAD_SIZE) -> None:
        self._buffer = bytearray()
        self._maximum = maximum_size
        self.rest = bytearray()

    def feed(self, data: Buffer) -> bytes | None:
        """Take the next bytes: return the head with its empty line, or None while there is more to come.

        One empty line before the head is skipped (RFC 9112 2.2). Raises HandshakeError: 400 for what cannot
        become a head, 414 or 431 for one above the maximum.
        """
        buffer = self._buffer
        scanned = max(0, len(buffer) - 3)
        view = memoryview(data)
        room = self._maximum - len(buffer)
        buffer += view[:room]
        begin = 2 if buffer.startswith(b"\r\n") else 0
        end = buffer.find(b"\r\n\r\n", max(scanned, begin))
        stop = len(buffer) if end < 0 else end
        if len(buffer) > begin and buffer != b"\r":
            self._check_first(buffer, begin)
        if _BARE_LF.search(buffer, scanned, stop):
            raise HandshakeError(400, "a line of the head ends in LF without CR")
        if end >= 0:
            head = bytes(buffer[begin : end + 4])
            self.rest = bytearray(buffer[end + 4 :])
            self.rest += view[room:] if room < len(view) else b""
            self._buffer = bytearray()
            return head
        if len(buffer) < self._maximum:
            return None
        if b"\r\n" not in buffer[begin:]:
            raise HandshakeError(414, f"the first line of the head is longer than {self._maximum} bytes")
        raise HandshakeError(431, f"the head is larger than {self._maximum} bytes")

    @staticmethod
    def _check_first(buffer: bytearray, begin: int) -> None:
        # Told at once, because the peer of a wrong protocol waits for us and would only see a timeout.
        if buffer[begin] == 0x16:
            raise HandshakeError(400, "this is no HTTP but looks like TLS, on a port without TLS")
        if not _METHOD.match(chr(buffer[begin])):
            raise HandshakeError(400, "this is no HTTP")


def parse_request_head(head: bytes) -> RequestHead:
    """Parse the head of a request, with its empty line.

    Raises HandshakeError: 400 for whatever RFC 9112 does not allow, 414 for a target above 8 KiB, 431 for
    more than 16 KiB or 100 fields, 505 for a version other than 1.x.
    """
    first, lines = _lines(head, 400)
    match = _REQUEST_LINE.fullmatch(first)
    if match is None:
        raise HandshakeError(400, "the request line is malformed")
    method, target, major, minor = match.groups()
    version = _version(major, minor, 505)
    if len(target) > MAXIMUM_TARGET_SIZE:
        raise HandshakeError(414, f"the request target is longer than {MAXIMUM_TARGET_SIZE} bytes")
    headers = _fields(lines, version, 400)
    authority, path, query = _split_target(method, target)
    hosts = [value for name, value in headers if name == "host"]
    if len(hosts) > 1:
        raise HandshakeError(400, "there is more than one Host")
    if not hosts and version >= (1, 1):
        raise HandshakeError(400, "there is no Host")
    for host in hosts:
        _check_host(host)
    host = (authority if authority is not None else hosts[0] if hosts else "").lower()
    return RequestHead(version, headers, method, target, path, query, host)


def parse_response_head(head: bytes) -> ResponseHead:
    """Parse the head of a response, with its empty line. Raises HandshakeError with status 502."""
    first, lines = _lines(head, 502)
    match = _STATUS_LINE.fullmatch(first)
    if match is None:
        raise HandshakeError(502, "the status line of the answer is malformed")
    major, minor, status, reason = match.groups()
    version = _version(major, minor, 502)
    return ResponseHead(version, _fields(lines, version, 502), int(status), reason or "")


def _elements(values: list[str]) -> Iterator[str]:
    for value in values:
        for element in value.split(","):
            element = element.strip(" \t")
            if element:
                yield element


def _lines(head: bytes, status: int) -> tuple[str, list[str]]:
    if len(head) > MAXIMUM_HEAD_SIZE:
        raise HandshakeError(
            431 if status == 400 else status, f"the head is larger than {MAXIMUM_HEAD_SIZE} bytes"
        )
    if not head.endswith(b"\r\n\r\n"):
        raise HandshakeError(status, "the head does not end in an empty line")
    first, *lines = head[:-4].decode("latin-1").split("\r\n")
    if len(lines) > MAXIMUM_FIELDS:
        raise HandshakeError(
            431 if status == 400 else status, f"the head has more than {MAXIMUM_FIELDS} fields"
        )
    return first, lines


def _version(major: str, minor: str, status: int) -> tuple[int, int]:
    if major != "1":
        raise HandshakeError(status, f"HTTP/{major}.{minor} is not spoken here, only HTTP/1.1")
    return 1, int(minor)


def _fields(lines: list[str], version: tuple[int, int], status: int) -> Headers:
    fields = []
    lengths = 0
    encoded = False
    for line in lines:
        match = _FIELD.fullmatch(line)
        if match is None:
            raise HandshakeError(status, _why_not_a_field(line))
        name, value = match.groups()
        name = name.lower()
        value = value.rstrip(" \t")
        if name == "content-length":
            lengths += 1
            if not (value.isascii() and value.isdigit()):
                raise HandshakeError(status, "Content-Length is not a number")
        elif name == "transfer-encoding":
            encoded = True
        fields.append((name, value))
    if lengths > 1:
        raise HandshakeError(status, "there is more than one Content-Length")
    if encoded and (lengths or version < (1, 1)):
        raise HandshakeError(status, "Transfer-Encoding beside Content-Length or before HTTP/1.1")
    return tuple(fields)


def _why_not_a_field(line: str) -> str:
    if line[:1] in (" ", "\t"):
        return "a header field is folded over two lines"
    name, colon, _ = line.partition(":")
    if not colon:
        return "a header field has no colon"
    if name.endswith((" ", "\t")):
        return "there is space before the colon of a header field"
    if not _METHOD.fullmatch(name):
        return "the name of a header field is malformed"
    return "the value of a header field has a control character"


def _split_target(method: str, target: str) -> tuple[str | None, str, str]:
    """Return authority (None where the target has none), path and query (RFC 9112 3.2)."""
    if not _TARGET.fullmatch(target):
        raise HandshakeError(400, "the request target is malformed")
    if method == "CONNECT":
        _check_host(target)
        if not re.search(r":[0-9]+$", target):
            raise HandshakeError(400, "the target of CONNECT is not host:port")
        return target, "", ""
    if target.startswith("/"):
        path, _, query = target.partition("?")
        return None, path, query
    if target == "*" and method == "OPTIONS":
        return None, "*", ""
    match = re.match(r"https?://", target, re.IGNORECASE)
    if match is None:
        raise HandshakeError(400, "the request target is neither a path nor an http URI")
    authority = re.split(r"[/?]", target[match.end() :], maxsplit=1)[0]
    if not authority:
        raise HandshakeError(400, "the request target has no host")
    _check_host(authority)
    path, _, query = target[match.end() + len(authority) :].partition("?")
    return authority, path or "/", query


def _check_host(host: str) -> None:
    if not host:
        return  # RFC 9110 7.2: sent for a target without authority
    match = _HOST.fullmatch(host)
    if match is None or int(match[1] or 0) > 65535:
        raise HandshakeError(400, "Host is malformed")
