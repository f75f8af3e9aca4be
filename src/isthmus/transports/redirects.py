"""Where a redirect of a WebSocket handshake leads, and whether it may be followed (RFC 6455, section 4.1)."""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

from isthmus import uri
from isthmus.errors import ConnectError, UriError
from isthmus.uri import Address
from isthmus.websocket.handshake import HandshakeError

STATUSES = frozenset((301, 302, 303, 307, 308))
_WEBSOCKET = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}


def location_of(error: BaseException | None) -> str | None:
    """Return where a refused handshake was redirected to; None where it was not."""
    if not isinstance(error, HandshakeError) or error.status not in STATUSES:
        return None
    return next((value for name, value in error.headers if name == "location"), None)


def follow(address: Address, location: str) -> Address:
    """Return what `location`, answered by `address`, means. Raises `ConnectError` for what is not
    followed.
    """

    def not_followed(why: str, hint: str = "") -> ConnectError:
        text = f"Unable to connect to {address}: it redirects to {location[:200]!r}, {why}"
        return ConnectError(text, hint=hint)

    base = uri.unparse(address).replace("ws", "http", 1)  # urljoin knows no ws
    try:
        parts = urlsplit(urljoin(base, location))
        scheme = _WEBSOCKET[parts.scheme.lower()]
        query = f"?{parts.query}" if parts.query else ""
        found = uri.parse(f"{scheme}://{parts.netloc}{parts.path}{query}")
    except (KeyError, ValueError, UriError) as error:
        raise not_followed("which is no address of a WebSocket") from error
    if address.kind.secure and not found.kind.secure:
        raise not_followed("which would leave TLS", "the server must redirect to https:// or wss://")
    return found


def same_origin(one: Address, other: Address) -> bool:
    """Whether two addresses are one server: what is meant for it may be sent to it."""
    return (one.scheme, one.host, one.port) == (other.scheme, other.host, other.port)
