"""Every exception isthmus raises on purpose, as one tree.

    IsthmusError                 something a user or a peer did; its text is one line for the user
    ├── ConfigurationError       a file or a command line is wrong; carries every Problem found
    │   └── UriError             a text is not a URI isthmus understands
    ├── KeystoreError            a certificate, a key or a password file cannot be used
    ├── BindError                an address cannot be listened on
    ├── ConnectError             a connect could not be established; `status` is what a Web client is told
    ├── AccessDenied             a client may not come in; `status` and `headers` are what it is told
    ├── TransportError           an established connection ended badly
    │   └── StreamReset          ... because the other side reset it or vanished: bytes may be missing
    │       └── StreamCut        ... or stopped without saying that this is the end
    ├── WebSocketError           a peer broke RFC 6455, or a handshake was refused
    └── SpanError                a peer broke the span protocol, or a stream or session of it cannot go on

The cause, where there is one, is chained (`raise ... from cause`) and goes to the log.
Anything else that is raised is a bug in isthmus.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class IsthmusError(Exception):
    """Something went wrong that isthmus foresees.

    `str(error)` is one line for the user: who failed, doing what, and why.
    `hint` is one more line that says what to do next, or empty.
    """

    hint: str = ""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a configuration.

    `line` counts from 1; 0 means that no single line is to blame. `element` is the path of names that leads
    to the place, as the user wrote them: `service/accept-options/ws.bind`.
    """

    file: str
    line: int
    element: str
    what: str
    allowed: str = ""
    nearest: str = ""

    def __str__(self) -> str:
        """Return the block that is shown to the user: one headline, then a line for each fact there is."""
        place = f"{self.file}:{self.line}" if self.line else self.file
        block = [f"{place}: <{self.element}>: {self.what}" if self.element else f"{place}: {self.what}"]
        if self.allowed:
            block.append(f"    allowed: {self.allowed}")
        if self.nearest:
            block.append(f"    did you mean: {self.nearest}")
        return "\n".join(block)


class ConfigurationError(IsthmusError):
    """A configuration cannot be used. `problems` has all that was found, in the order of the file."""

    problems: tuple[Problem, ...]

    def __init__(self, message: str, problems: Sequence[Problem] = (), *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.problems = tuple(problems)


class UriError(ConfigurationError):
    """A text is not a URI that isthmus understands."""


class KeystoreError(IsthmusError):
    """A certificate, key, keystore or password file cannot be used. The text names the file."""


class BindError(IsthmusError):
    """An accept cannot listen.

    The text is the whitepaper's: `Unable to bind to resource: URI[ @ BIND] cause: REASON`.
    """


class ConnectError(IsthmusError):
    """A connect could not be established.

    `status` is the HTTP status that tells a waiting Web client: 502 (the far side refused or failed),
    504 (it did not answer in time), 503 (this gateway stops) or 404 (the far side is known to be away).
    `asked` says that the far side was reached, and the handshake with it failed.
    """

    status: int
    asked = False

    def __init__(self, message: str, *, status: int = 502, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status


class AccessDenied(IsthmusError):
    """A client may not come in.

    The text is what it is told, so it holds nothing but that. `status` is 401 (it has to say who it is), 403
    (it is known, and may not), 429 (it tried too often) or 503 (who it is cannot be found out now); `headers`
    go with it.
    """

    status: int
    headers: tuple[tuple[str, str], ...]

    def __init__(self, status: int, message: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers


class TransportError(IsthmusError):
    """An established connection ended badly."""


class StreamReset(TransportError):
    """The other side reset the connection or vanished: bytes may be missing, so the reset is passed on."""


class StreamCut(StreamReset):
    """The connection stopped without the end that its layer asks for (TLS: close_notify, RFC 8446 6.1).

    Bytes may be missing, unless what is above had an end of its own (a WebSocket: both Close frames).
    """


class WebSocketError(IsthmusError):
    """A peer broke RFC 6455 or refused a handshake. `isthmus.websocket` has the kinds."""


class SpanError(IsthmusError):
    """A peer broke the span protocol (docs/span.md), or one of its streams or sessions cannot go on.

    `code` is the code of RESET, REFUSED and GOAWAY that tells the peer so.
    """

    code: int

    def __init__(self, code: int, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = int(code)
