"""The opening handshake of a WebSocket (RFC 6455 section 4), both roles, as values: heads in, heads out."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from isthmus.websocket.frames import LocalError
from isthmus.websocket.heads import (
    FIELD_VALUE,
    TOKEN,
    HandshakeError,
    HandshakeRefused,
    Head,
    Headers,
    HeadReader,
    RequestHead,
    ResponseHead,
    parse_request_head,
    parse_response_head,
    phrase,
)

__all__ = [
    "ClientHandshake",
    "HandshakeError",
    "HandshakeRefused",
    "Head",
    "HeadReader",
    "Headers",
    "RequestHead",
    "ResponseHead",
    "Upgrade",
    "accept_upgrade",
    "is_upgrade",
    "message_head",
    "parse_request_head",
    "parse_response_head",
    "refusal",
    "refused_with",
]

VERSION = "13"
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 1.3
_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")
_NAME = re.compile(TOKEN)
_EXTENSION = re.compile(  # RFC 6455 9.1; also what is in quotes must be a token
    rf'{TOKEN}(?:[ \t]*;[ \t]*{TOKEN}(?:[ \t]*=[ \t]*(?:{TOKEN}|"(?:\\?{TOKEN[:-1]})+"))?)*'
)
_VALUE = re.compile(FIELD_VALUE)
_TARGET = re.compile(r"/[\x21-\x7e]*")
_HOST = re.compile(r"[\x21-\x7e]+")
# A caller's extra fields must not undo the handshake.
_OWN = frozenset(
    {
        "connection",
        "content-length",
        "host",
        "sec-websocket-accept",
        "sec-websocket-extensions",
        "sec-websocket-key",
        "sec-websocket-protocol",
        "sec-websocket-version",
        "transfer-encoding",
        "upgrade",
    }
)
_FRAMING = frozenset({"content-length", "transfer-encoding"})


def is_upgrade(request: RequestHead) -> bool:
    """Whether a request asks for a WebSocket, rightly or not; HTTP/1.0 cannot (RFC 9110 7.8)."""
    return request.version >= (1, 1) and request.has_token("upgrade", "websocket")


@dataclass(frozen=True, slots=True)
class Upgrade:
    """A handshake that is right and waits for its answer."""

    request: RequestHead
    key: str
    subprotocol: str | None

    def response(self, headers: Iterable[tuple[str, str]] = ()) -> bytes:
        """Return the 101 that opens the WebSocket, with additional `headers`.

        Raises LocalError for a header that is malformed or the handshake's own.
        """
        fields = [
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Accept", accept_value(self.key)),
        ]
        if self.subprotocol is not None:
            fields.append(("Sec-WebSocket-Protocol", self.subprotocol))
        return message_head("HTTP/1.1 101 Switching Protocols", fields, headers)


def accept_upgrade(request: RequestHead, *, subprotocols: Sequence[str] = ()) -> Upgrade:
    """Check a client's handshake (RFC 6455 4.2.1) and choose a subprotocol.

    Chosen is the first that the client offers and that is among `subprotocols`, None if there is none.
    Extensions are declined, but malformed ones refused (9.1). Raises HandshakeError with the answer to give.
    """
    if request.method != "GET":
        raise HandshakeError(405, "a WebSocket is opened with GET", (("Allow", "GET"),))
    if request.version < (1, 1):
        raise HandshakeError(505, "a WebSocket needs HTTP/1.1")
    if not request.has_token("upgrade", "websocket"):
        raise HandshakeError(
            426,
            "only WebSocket is spoken here",
            (("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", VERSION)),
        )
    if not request.has_token("connection", "upgrade"):
        raise HandshakeError(400, "Connection does not name Upgrade")
    if request.get_all("sec-websocket-version") != [VERSION]:
        raise HandshakeError(
            400, f"only version {VERSION} of WebSocket is spoken here", (("Sec-WebSocket-Version", VERSION),)
        )
    keys = request.get_all("sec-websocket-key")
    if len(keys) != 1:
        raise HandshakeError(400, "there is not exactly one Sec-WebSocket-Key")
    if not _KEY.fullmatch(keys[0]):
        raise HandshakeError(400, "Sec-WebSocket-Key is not 16 bytes in base64")
    if request.get("content-length") not in (None, "0") or request.get("transfer-encoding") is not None:
        raise HandshakeError(400, "a WebSocket handshake has no body")
    offered = request.tokens("sec-websocket-protocol")
    if not all(_NAME.fullmatch(name) for name in offered):
        raise HandshakeError(400, "Sec-WebSocket-Protocol is malformed")
    if request.get("sec-websocket-extensions") is not None:
        extensions = request.tokens("sec-websocket-extensions")
        if not extensions or not all(_EXTENSION.fullmatch(each) for each in extensions):
            raise HandshakeError(400, "Sec-WebSocket-Extensions is malformed")
    chosen = next((name for name in offered if name in subprotocols), None)
    return Upgrade(request, keys[0], chosen)


def refusal(status: int, reason: str = "", headers: Iterable[tuple[str, str]] = ()) -> bytes:
    """Return a complete small response that ends the connection, its text being the status and `reason`.

    Raises LocalError for a malformed header. `reason` is shown to the peer: keep secrets out of it.
    """
    title = f"{status} {phrase(status)}".rstrip()
    body = (f"{title}: {reason}\n" if reason else f"{title}\n").encode()
    fields = [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("X-Content-Type-Options", "nosniff"),
    ]
    extra = list(headers)
    options = [value for name, value in extra if name.lower() == "connection"]
    extra = [(name, value) for name, value in extra if name.lower() != "connection"]
    extra.append(("Connection", ", ".join([*options, "close"])))
    return message_head(f"HTTP/1.1 {status} {phrase(status)}", fields, extra, own=_FRAMING) + body


class ClientHandshake:
    """The client's side of one handshake, with a key of its own.

    `host` is the value of Host, with the port unless it is the default; `target` is path and query; offered
    are `subprotocols`, in order of preference. Raises LocalError for a value that cannot stand in a request.
    """

    __slots__ = ("_fields", "_headers", "_key", "_subprotocols", "_target")

    def __init__(
        self,
        host: str,
        target: str,
        *,
        subprotocols: Sequence[str] = (),
        headers: Iterable[tuple[str, str]] = (),
    ) -> None:
        if not _HOST.fullmatch(host):
            raise LocalError("the host of a WebSocket is empty or has characters that Host cannot have")
        if not _TARGET.fullmatch(target) or "#" in target:
            raise LocalError("the target of a WebSocket must be a path, percent-encoded, without a fragment")
        for name in subprotocols:
            if not _NAME.fullmatch(name):
                raise LocalError(f"{name!r} cannot be the name of a subprotocol")
        if len(set(subprotocols)) != len(subprotocols):
            raise LocalError("a subprotocol is offered twice")
        self._target = target
        self._subprotocols = tuple(subprotocols)
        self._key = base64.b64encode(os.urandom(16)).decode()
        self._fields = [
            ("Host", host),
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Key", self._key),
            ("Sec-WebSocket-Version", VERSION),
        ]
        if subprotocols:
            self._fields.append(("Sec-WebSocket-Protocol", ", ".join(subprotocols)))
        self._headers = tuple(headers)
        self.request()

    def request(self) -> bytes:
        """Return the head to send."""
        return message_head(f"GET {self._target} HTTP/1.1", self._fields, self._headers)

    def verify(self, response: ResponseHead) -> str | None:
        """Check the server's answer (RFC 6455 4.1) and return the subprotocol it chose, if any.

        An answer that is `interim` has to be passed over first. Raises HandshakeError: for a refusal with the
        server's status and headers, for a wrong answer with 502.
        """
        if response.status != 101:
            raise HandshakeRefused(response.status, refused_with(response), response.headers)
        if response.version < (1, 1):
            raise _wrong(response, "its answer is not HTTP/1.1")
        if [value.lower() for value in response.tokens("upgrade")] != ["websocket"]:
            raise _wrong(response, "Upgrade is not websocket")
        if not response.has_token("connection", "upgrade"):
            raise _wrong(response, "Connection does not name Upgrade")
        if response.get_all("sec-websocket-accept") != [accept_value(self._key)]:
            raise _wrong(response, "Sec-WebSocket-Accept does not fit the key; is there a cache on the way?")
        if response.get("sec-websocket-extensions") is not None:
            raise _wrong(response, "it chose an extension that was not offered")
        chosen = response.get_all("sec-websocket-protocol")
        if not chosen:
            return None
        if len(chosen) > 1 or chosen[0] not in self._subprotocols:
            raise _wrong(response, "it chose a subprotocol that was not offered")
        return chosen[0]


def accept_value(key: str) -> str:
    """Return the Sec-WebSocket-Accept that answers a Sec-WebSocket-Key (RFC 6455 4.2.2)."""
    return base64.b64encode(hashlib.sha1((key + _GUID).encode(), usedforsecurity=False).digest()).decode()


def refused_with(response: ResponseHead) -> str:
    """Return how a server has refused a handshake, in words."""
    status = f"answered {response.status} {response.reason or phrase(response.status)}".rstrip()
    location = response.get("location")
    if 300 <= response.status < 400 and location:
        return f"{status}, a redirect to {location}, which is not followed"
    return status


def _wrong(response: ResponseHead, why: str) -> HandshakeError:
    return HandshakeError(502, f"the WebSocket handshake was answered wrongly: {why}", response.headers)


def message_head(
    first: str,
    fields: Iterable[tuple[str, str]],
    extra: Iterable[tuple[str, str]],
    own: frozenset[str] = _OWN,
) -> bytes:
    """Return a head: its `first` line, `fields`, and `extra` ones. Raises LocalError for one of those that is
    malformed or among `own`, in lower case.
    """
    lines = [first]
    lines += [f"{name}: {value}" for name, value in fields]
    for name, value in extra:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise LocalError(f"the header field {name!r} has characters that a header cannot have")
        if name.lower() in own:
            raise LocalError(f"the header field {name} belongs to the handshake itself")
        lines.append(f"{name}: {value}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
