"""Which options can have an effect on which addresses: the first word of an option's name says it."""

from __future__ import annotations

from collections.abc import Iterable

from isthmus.uri import Address


def applies(option: str, addresses: Iterable[Address], *, connecting: bool = False) -> bool:
    """Tell whether `option` (of accept- or connect-options) means anything for a service with `addresses`.

    An accept's bind is for its own scheme only; `udp.*` for udp; `tcp.*`, and `tcp.bind` where `addresses`
    are connected to (`connecting`), for whatever else goes over the network; `ssl.*` for schemes with TLS,
    `ws.*`, `span.*` and `doctor.*` for WebSocket, `http.*` for all that begin with HTTP, `proxy.*` and
    `trusted.*` as `tcp.*`; the others are for every address.
    """
    word, _, rest = option.partition(".")
    if rest == "bind" and not connecting:
        return any(address.scheme == word for address in addresses)
    if word == "udp":
        return any(address.scheme == "udp" for address in addresses)
    if word in ("tcp", "proxy", "trusted"):
        return any(not address.kind.local and address.scheme != "udp" for address in addresses)
    if word == "ssl":
        return any(address.kind.secure for address in addresses)
    if word in ("ws", "span", "doctor"):
        return any(address.scheme in ("ws", "wss") for address in addresses)
    if word == "http":
        return any(address.kind.web for address in addresses)
    return any(True for _ in addresses)
