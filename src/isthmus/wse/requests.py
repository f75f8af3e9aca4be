"""The requests of WebSocket emulation, both roles, as values: heads in, heads out.

    POST /path/;e/cbm           creates one: 201 and two URLs
    POST /path/;e/ubm/<name>    upstream: frames that end in RECONNECT, answered 200 when they were taken
    GET  /path/;e/dbm/<name>    downstream: a long answer of frames, or with `.ki=p` a short one

Each carries a sequence number, one above the one before in its direction: no request is taken twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote_plus, urlsplit

from isthmus.websocket.handshake import (
    HandshakeError,
    HandshakeRefused,
    Headers,
    RequestHead,
    ResponseHead,
    message_head,
    refused_with,
)
from isthmus.websocket.heads import TOKEN
from isthmus.wse.encodings import BINARY, ENCODINGS, OCTETS, Encoding

VERSION = "wseb-1.0"
MAXIMUM_SEQUENCE = 2**53 - 1
MAXIMUM_PADDING = 4096
"""Bytes of padding that a client may ask for."""
_PLACE = re.compile(r"(/.*?)?/(?:;|%3[Bb])e/([cud])(bm?|tem?|tm?)(?:/([A-Za-z0-9_-]{1,128}))?")
_NAME = re.compile(TOKEN)
_OWN = frozenset({"connection", "content-length", "host", "transfer-encoding"})
_KINDS: dict[str, Literal["create", "upstream", "downstream"]] = {
    "c": "create",
    "u": "upstream",
    "d": "downstream",
}


@dataclass(frozen=True, slots=True)
class Place:
    """What a path of the emulation names."""

    path: str
    """The path of the WebSocket, without a slash at its end; empty for the root."""
    kind: Literal["create", "upstream", "downstream"]
    encoding: Encoding
    name: str
    """Of the emulated WebSocket; empty for one that is to be created."""


def place_of(path: str) -> Place | None:
    """Return what `path` names; None where it is none of the emulation's."""
    if "/;e/" not in path and "/%3" not in path:
        return None
    match = _PLACE.fullmatch(path)
    if match is None:
        return None
    before, kind, suffix, name = match.groups()
    if (kind == "c") != (name is None):
        return None
    return Place((before or "").rstrip("/"), _KINDS[kind], ENCODINGS[suffix], name or "")


def begins_emulation(data: bytes) -> bool:
    """Whether the bytes of a request begin with one of the emulation, as far as its first line tells."""
    line = data.partition(b"\r\n")[0]
    return b"/;e/" in line or b"/%3Be/" in line or b"/%3be/" in line


def parameters_of(query: str) -> dict[str, str]:
    """Return the parameters of a query that are the emulation's own: their names begin with `.k`."""
    found: dict[str, str] = {}
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        if name.startswith(".k"):
            found.setdefault(name, unquote_plus(value))
    return found


def query_without(query: str) -> str:
    """Return a query without the emulation's own parameters."""
    return "&".join(pair for pair in query.split("&") if pair and not pair.startswith(".k"))


def number_of(parameters: dict[str, str], name: str, maximum: int) -> int | None:
    """Return a parameter that is a number, at most `maximum`; None where it is none."""
    value = parameters.get(name, "")
    return min(int(value), maximum) if re.fullmatch(r"[0-9]{1,9}", value) else None


def sequence_of(request: RequestHead, parameters: dict[str, str]) -> int:
    """Return the sequence number of a request. Raises HandshakeError 400 where there is no valid one."""
    values = request.get_all("x-sequence-no") or [
        parameters[name] for name in (".ksn",) if name in parameters
    ]
    if len(values) != 1 or not re.fullmatch(r"[0-9]{1,16}", values[0]) or int(values[0]) > MAXIMUM_SEQUENCE:
        raise HandshakeError(400, "there is not exactly one valid X-Sequence-No")
    return int(values[0])


@dataclass(frozen=True, slots=True)
class Creation:
    """A request to create an emulated WebSocket that is right and waits for its answer."""

    request: RequestHead
    place: Place
    sequence: int
    subprotocol: str | None
    pings: bool
    """Whether the client understands pings."""

    def response(self, origin: str, name: str, headers: Iterable[tuple[str, str]] = ()) -> bytes:
        """Return the 201, whose URLs are on `origin` (`https://host:port`) and have `name`."""
        base = f"{origin}{self.place.path}/;e/"
        query = query_without(self.request.query)
        end = f"{self.place.encoding.suffix}/{name}" + (f"?{query}" if query else "")
        body = f"{base}u{end}\n{base}d{end}\n".encode("latin-1")
        fields = [
            ("Content-Type", "text/plain;charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
        ]
        if self.subprotocol is not None:
            fields.append(("X-WebSocket-Protocol", self.subprotocol))
        return message_head("HTTP/1.1 201 Created", [*fields, *headers], ()) + body


def accept_creation(request: RequestHead, place: Place, *, subprotocols: Sequence[str] = ()) -> Creation:
    """Check a request to create, and choose a subprotocol as `accept_upgrade` does.

    Kaazing's own gateway creates with GET and without a version unless told to keep to the specification,
    so with GET the version may be missing. Raises HandshakeError with the answer to give.
    """
    if request.method not in ("POST", "GET"):
        raise HandshakeError(400, "an emulated WebSocket is created with POST")
    versions = request.get_all("x-websocket-version")
    if versions != [VERSION] and (versions or request.method == "POST"):
        raise HandshakeError(400, f"only {VERSION} of WebSocket emulation is spoken here")
    sequence = sequence_of(request, parameters_of(request.query))
    commands = request.get_all("x-accept-commands")
    if commands not in ([], ["ping"]):
        raise HandshakeError(400, "X-Accept-Commands may be ping only")
    offered = request.tokens("x-websocket-protocol")
    if not all(_NAME.fullmatch(name) for name in offered):
        raise HandshakeError(400, "X-WebSocket-Protocol is malformed")
    chosen = next((name for name in offered if name in subprotocols), None)
    return Creation(request, place, sequence, chosen, bool(commands))


def downstream_head(
    encoding: Encoding, heartbeat: float, length: int | None, headers: Iterable[tuple[str, str]] = ()
) -> bytes:
    """Return the head of an answer downstream: of `length` bytes, or until the connection ends (None)."""
    fields = [
        ("Content-Type", encoding.downstream_type),
        ("Cache-Control", "no-cache, no-store, no-transform"),
        ("X-Accel-Buffering", "no"),
        ("X-Content-Type-Options", "nosniff"),
        ("X-Idle-Timeout", str(max(1, round(heartbeat)))),
        ("Connection", "close") if length is None else ("Content-Length", str(length)),
    ]
    return message_head("HTTP/1.1 200 OK", [*fields, *headers], ())


def upstream_answer(headers: Iterable[tuple[str, str]] = ()) -> bytes:
    """Return the answer to an upstream request that was taken."""
    return message_head(
        "HTTP/1.1 200 OK", [("Content-Length", "0"), ("Cache-Control", "no-store"), *headers], ()
    )


# --- the client's side


@dataclass(frozen=True, slots=True)
class Asking:
    """What each request of one emulated WebSocket has: Host, the path and query of the WebSocket, fields."""

    host: str
    target: str
    headers: Headers = ()

    @property
    def path(self) -> str:
        """The path, without a slash at its end."""
        return self.target.partition("?")[0].rstrip("/")

    def create(self, sequence: int, subprotocols: Sequence[str]) -> bytes:
        """Return the request that creates one."""
        query = self.target.partition("?")[2]
        fields = [
            ("Content-Length", "0"),
            ("X-WebSocket-Version", VERSION),
            ("X-Accept-Commands", "ping"),
            ("X-Next-Protocol", "wse/1.0"),
        ]
        if subprotocols:
            fields.append(("X-WebSocket-Protocol", ", ".join(subprotocols)))
        target = f"{self.path}/;e/c{BINARY.suffix}" + (f"?{query}" if query else "")
        return self._request("POST", target, sequence, fields)

    def upstream(self, target: str, sequence: int, length: int) -> bytes:
        """Return the head of a request that brings `length` bytes."""
        fields = [
            ("Content-Type", OCTETS),
            ("Content-Length", str(length)),
            ("X-Next-Protocol", "wse/1.0"),
        ]
        return self._request("POST", target, sequence, fields)

    def downstream(self, target: str, sequence: int, *, short: bool) -> bytes:
        """Return the request for an answer of frames; a short one ends as soon as it has some."""
        if short:
            target += "&.ki=p" if "?" in target else "?.ki=p"
        return self._request("GET", target, sequence, [("X-Next-Protocol", "wse/1.0")])

    def _request(self, method: str, target: str, sequence: int, fields: list[tuple[str, str]]) -> bytes:
        start = [("Host", self.host), ("X-Sequence-No", str(sequence)), *fields]
        return message_head(f"{method} {target} HTTP/1.1", start, self.headers, own=_OWN)

    def verify(
        self, response: ResponseHead, body: bytes, subprotocols: Sequence[str]
    ) -> tuple[str, str, str | None]:
        """Check the answer to `create`: return the targets upstream and downstream, and the subprotocol.

        Only path and query of the URLs are used, with the server that was asked. A proxy on the way may have
        changed the path, so what is before `/;e/` is our own. Raises HandshakeError: for a refusal with the
        server's status and headers, for a wrong answer with 502.
        """
        if response.status != 201:
            raise HandshakeRefused(response.status, refused_with(response), response.headers)
        kind = "".join((response.get("content-type") or "").lower().split())
        if kind != "text/plain;charset=utf-8":
            raise self._wrong("it is of a wrong type")
        chosen = response.get_all("x-websocket-protocol")
        if len(chosen) > 1 or (chosen and chosen[0] not in subprotocols):
            raise self._wrong("it chose a subprotocol that was not offered")
        if response.get("x-websocket-extensions"):
            raise self._wrong("it chose an extension that was not offered")
        lines = body.decode("latin-1").split("\n")
        if len(lines) < 2:
            raise self._wrong("there are not two URLs in it")
        return self._target(lines[0]), self._target(lines[1]), chosen[0] if chosen else None

    def _target(self, url: str) -> str:
        try:
            parts = urlsplit(url.strip())
            host, own = parts.hostname, urlsplit(f"//{self.host}").hostname
        except ValueError:
            raise self._wrong("a URL in it is malformed") from None
        if parts.scheme not in ("http", "https") or host != own:
            raise self._wrong("a URL in it leads to another server")
        path, mark, rest = parts.path.partition("/;e/")
        path = f"{self.path}{mark}{rest}" if mark else path
        if not path.startswith(self.path or "/") or not re.fullmatch(r"[!-~]+", path + parts.query):
            raise self._wrong("a URL in it leads to another path")
        return path + (f"?{parts.query}" if parts.query else "")

    @staticmethod
    def _wrong(why: str) -> HandshakeError:
        return HandshakeError(502, f"the creation of an emulated WebSocket was answered wrongly: {why}")
