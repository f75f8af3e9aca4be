"""HTTP CONNECT (RFC 9110, section 9.3.6): what is said to an HTTP proxy, bytes in, bytes out."""

from __future__ import annotations

from isthmus import __version__
from isthmus.transports.http_authentication import Attempt, AuthenticationFailed
from isthmus.transports.negotiation import Refused
from isthmus.websocket.heads import (
    HandshakeError,
    HeadReader,
    ResponseHead,
    parse_response_head,
    phrase,
)

MAXIMUM_BODY = 64 * 1024
"""Bytes of the page behind a 407 that are read over; a longer one costs another connection."""
_MAXIMUM_CHUNK_LINE = 1024
_MAXIMUM_CONNECTIONS = 2
_HTTP = b"HTTP/"


class HttpConnect:
    """Asks an HTTP proxy for the way to `target`, `host:port`; see `Negotiation`.

    A 407 is answered as `attempt` says, over the same connection where the proxy keeps it.
    """

    def __init__(self, target: str, attempt: Attempt) -> None:
        self.opened = False
        self.rest = b""
        self.again = False
        self._target = target
        self._attempt = attempt
        self._reader = HeadReader()
        self._begun = b""
        self._body: _Body | None = None
        self._connections = 0
        self._told = False  # who we are

    @property
    def slow(self) -> bool:
        return self._attempt.slow

    def start(self) -> bytes:
        if self._connections == _MAXIMUM_CONNECTIONS:
            raise Refused("it ends the connection after each 407 Proxy Authentication Required")
        self._connections += 1
        try:
            if self.again:
                self._attempt.lost()
            return self._request()
        except AuthenticationFailed as error:
            raise _unauthenticated(error) from error
        finally:
            self.again = False
            self._reader = HeadReader()
            self._begun = b""
            self._body = None

    def receive(self, data: memoryview) -> bytes:
        held: bytes | memoryview = data
        while not self.opened and not self.again:
            if self._body is not None:
                left = self._body.feed(held)
                if left is None:
                    self.again = self._body.too_long
                    return b""
                self._body = None
                if left:
                    raise Refused("it answers more than it was asked")
                try:
                    return self._request()
                except AuthenticationFailed as error:
                    raise _unauthenticated(error) from error
            self._begun += bytes(held[: len(_HTTP) - len(self._begun)])
            if not _HTTP.startswith(self._begun):
                raise _no_http("it begins otherwise")  # and may wait for us for ever
            try:
                head = self._reader.feed(held)
                if head is None:
                    return b""
                held = bytes(self._reader.rest)
                response = parse_response_head(head)
            except HandshakeError as error:
                raise _no_http(error.reason) from error
            self._begun = b""
            if not response.interim:
                self._answered(response, held)
        return b""

    def ended(self) -> None:
        if self._body is None:
            raise Refused("it ended the connection without an answer to CONNECT")
        self.again = True

    def _request(self) -> bytes:
        authorization = self._attempt.authorization("CONNECT", self._target)
        lines = [
            f"CONNECT {self._target} HTTP/1.1",
            f"Host: {self._target}",
            f"User-Agent: isthmus/{__version__}",
            "Proxy-Connection: keep-alive",  # without it old proxies end the connection after a 407
        ]
        self._told = bool(authorization)
        if authorization:
            lines.append(f"Proxy-Authorization: {authorization}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")

    def _answered(self, response: ResponseHead, held: bytes) -> None:
        if 200 <= response.status < 300:
            self._attempt.accepted(response.get("proxy-authentication-info"))
            self.opened, self.rest = True, held
        elif response.status == 407:
            try:
                self._attempt.challenged(response.get_all("proxy-authenticate"))
            except AuthenticationFailed as error:
                raise _unauthenticated(error) from error
            self._body = _Body(response)
            self.again = not _stays(response)
        else:
            raise _refusal(response, self._target, self._told)


def _no_http(reason: str) -> Refused:
    hint = "check scheme and port of the proxy: http://, https:// or socks://"
    return Refused(f"its answer is no HTTP answer: {reason}", hint=hint)


def _unauthenticated(error: AuthenticationFailed) -> Refused:
    return Refused(f"it answers 407 Proxy Authentication Required; {error}", hint=error.hint)


def _refusal(response: ResponseHead, target: str, told: bool) -> Refused:
    reason = "".join(each for each in response.reason if each.isprintable())[:100]
    what = f"it answers {response.status} {reason or phrase(response.status)}".rstrip()
    host, _, port = target.rpartition(":")
    match response.status:
        case 400 | 405 | 501:
            hint = "check that this is a proxy, and that it has CONNECT"
        case 403:
            hint = f"its rules do not allow {target}: ask for it; port 443 is allowed most often, not {port}"
            if port == "443":
                hint = f"its rules do not allow {target}: ask for it"
        case 500 | 502 | 503 | 504:
            hint = f"the proxy itself does not reach {host}: check name and port, and who may connect there"
        case 401 if told:  # tinyproxy
            hint = "it does not take the user name and password: check them"
        case 401:
            hint = "this is a Web server, not a proxy"
        case status if 300 <= status < 400:
            hint = "a login page for the network stands here; sign in with a browser first"
        case _:
            hint = ""
    return Refused(what, hint=hint, status=504 if response.status == 504 else 502)


def _stays(response: ResponseHead) -> bool:
    """Whether the connection is kept after this answer (RFC 9112, section 9.3; older proxies' own field)."""
    if response.has_token("connection", "close") or response.has_token("proxy-connection", "close"):
        return False
    if response.version < (1, 1):
        kept = "connection", "proxy-connection"
        return any(response.has_token(name, "keep-alive") for name in kept)
    return True


class _Body:
    """Reads over the body of an answer (RFC 9112, section 6.3)."""

    def __init__(self, response: ResponseHead) -> None:
        self.too_long = False
        self._taken = 0
        self._line: bytearray | None = None  # of chunked coding: the line that comes next
        self._trailer = False
        length = response.get("content-length")
        codings = response.tokens("transfer-encoding")
        if codings:
            self._left = 0
            self._line = bytearray()
            self.too_long = [each.lower() for each in codings] != ["chunked"]
        elif length is not None:
            self._left = min(int(length), MAXIMUM_BODY + 1)
        else:
            self._left = MAXIMUM_BODY + 1  # until the end of the connection
        self.too_long |= self._left > MAXIMUM_BODY

    def feed(self, data: bytes | memoryview) -> bytes | None:
        """Take what came: return what is behind the body, or None while there is more to come."""
        if self.too_long:
            return None
        view = memoryview(data)
        while True:
            taken = min(self._left, len(view))
            view = view[taken:]
            self._left -= taken
            self._taken += taken
            if self._left:
                return None
            if self._line is None:
                return bytes(view)
            end = bytes(view[: _MAXIMUM_CHUNK_LINE + 1]).find(b"\n")
            self._line += view if end < 0 else view[: end + 1]
            self._taken += len(view) if end < 0 else end + 1
            if len(self._line) > _MAXIMUM_CHUNK_LINE or self._taken > MAXIMUM_BODY:
                self.too_long = True
                return None
            if end < 0:
                return None
            view = view[end + 1 :]
            self._next_line(bytes(self._line).strip())
            if self.too_long:
                return None

    def _next_line(self, line: bytes) -> None:
        """Take a line: the size of a chunk, or of the trailer behind the last one."""
        self._line = bytearray()
        if self._trailer:
            if not line:
                self._line = None
            return
        size = line.split(b";")[0].strip()
        if not size or len(size) > 8 or not all(each in b"0123456789abcdefABCDEF" for each in size):
            self.too_long = True  # it is not to be understood: so another connection
        elif int(size, 16) == 0:
            self._trailer = True
        else:
            self._left = int(size, 16) + 2  # and the line's end behind it
