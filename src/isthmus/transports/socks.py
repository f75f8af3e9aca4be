"""SOCKS 5 (RFC 1928, with user name and password: RFC 1929) and SOCKS 4A: what is said, bytes in, bytes out.

Names go to the proxy as they are: it resolves them.
"""

from __future__ import annotations

import ipaddress

from isthmus.config.proxies import Credential
from isthmus.transports.negotiation import Refused

_NO_LOGIN, _PASSWORD, _NONE_FITS = 0x00, 0x02, 0xFF
_CONNECT = 0x01
_IPV4, _NAME, _IPV6 = 0x01, 0x03, 0x04
_ADDRESS_SIZES = {_IPV4: 4, _IPV6: 16}

_RULES = "its rules do not allow this destination: ask for it"
_REPLIES: dict[int, tuple[str, str]] = {
    0x01: ("general failure", "its log may say more"),
    0x02: ("connection not allowed by its rules", _RULES),
    0x03: ("network unreachable", "the proxy itself does not reach the destination"),
    0x04: ("host unreachable", "the proxy itself does not reach or resolve the destination"),
    0x05: ("connection refused", "the destination does not listen on this port"),
    0x06: ("TTL expired", "the proxy itself does not reach the destination"),
    0x07: ("command not supported", "it does not let connections out"),
    0x08: ("address type not supported", "try a name in the place of an address, or an address of IPv4"),
}
_REPLIES_4: dict[int, tuple[str, str]] = {
    0x5B: ("request rejected or failed", f"{_RULES}, or see its log"),
    0x5C: ("it asks this machine who we are (identd)", "use SOCKS 5"),
    0x5D: ("it does not believe who we are (identd)", "use SOCKS 5"),
}
_NOT_SOCKS = "check scheme and port of the proxy: socks://, socks4a:// or http://"


def _address_of(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


class _Talk:
    """What both versions share: bytes are gathered until an answer is whole; a few hundred at most."""

    slow = False

    def __init__(self) -> None:
        self.opened = False
        self.rest = b""
        self.again = False
        self._buffer = bytearray()

    def receive(self, data: memoryview) -> bytes:
        """See `Negotiation`."""
        self._buffer += data
        to_send = b""
        while not self.opened and (size := self._wanted()) <= len(self._buffer):
            answer = bytes(self._buffer[:size])
            del self._buffer[:size]
            to_send += self._answer(answer)
        if self.opened:
            self.rest = bytes(self._buffer)
            self._buffer.clear()
        return to_send

    def ended(self) -> None:
        """See `Negotiation`."""
        raise Refused(f"it ended the connection {self._during()}")

    def _wanted(self) -> int:
        """Return how many bytes the next answer has, as far as that is known."""
        raise NotImplementedError

    def _answer(self, answer: bytes) -> bytes:
        raise NotImplementedError

    def _during(self) -> str:
        return "without an answer"


class Socks5(_Talk):
    """Asks a SOCKS 5 proxy for the way to a host and port; see `Negotiation`."""

    def __init__(self, host: str, port: int, credential: Credential | None) -> None:
        super().__init__()
        self._host = host
        self._port = port
        self._credential = credential
        self._stage = "method"  # -> login -> reply

    def start(self) -> bytes:
        self._stage = "method"
        self._buffer.clear()
        if self._credential is None:
            return bytes((5, 1, _NO_LOGIN))
        return bytes((5, 2, _NO_LOGIN, _PASSWORD))

    def _wanted(self) -> int:
        if self._stage != "reply":
            return 2
        if len(self._buffer) < 5:
            return 5 if bytes(self._buffer[1:2]) in (b"", b"\0") else 2
        if self._buffer[1] != 0:
            return 2  # what follows a refusal is of no use, and some send no more
        kind = self._buffer[3]
        if kind not in _ADDRESS_SIZES and kind != _NAME:
            raise Refused("its answer is no SOCKS answer", hint=_NOT_SOCKS)
        return 6 + _ADDRESS_SIZES.get(kind, 1 + self._buffer[4])

    def _answer(self, answer: bytes) -> bytes:
        if self._stage == "login":
            if answer[1] != 0:
                assert self._credential is not None
                raise Refused(
                    f"it does not take the user name and password of {self._credential.user!r}",
                    hint="check them in proxy.credentials-file",
                )
            return self._connect()
        if answer[0] != 5:
            near = " (it looks like HTTP)" if answer[:1] == b"H" else ""
            raise Refused(f"its answer is no SOCKS 5 answer{near}", hint=_NOT_SOCKS)
        if self._stage == "reply":
            if answer[1]:
                reason, hint = _REPLIES.get(answer[1], (f"error {answer[1]}", ""))
                raise Refused(f"it answers: {reason}", hint=hint)
            self.opened = True
            return b""
        if answer[1] == _NO_LOGIN:
            return self._connect()
        if answer[1] == _PASSWORD and self._credential is not None:
            self._stage = "login"
            return self._login(self._credential)
        if answer[1] == _NONE_FITS and self._credential is None:
            raise Refused(
                "it wants to know who we are",
                hint="name a file with user name and password in proxy.credentials-file",
            )
        raise Refused(
            "it takes neither nobody nor a user name and password", hint="isthmus has no GSSAPI for SOCKS"
        )

    def _login(self, credential: Credential) -> bytes:
        user, password = credential.user.encode(), credential.password.encode()
        if not 0 < len(user) < 256 or not 0 < len(password) < 256:
            raise Refused("SOCKS has room for 1 to 255 bytes in a user name and in a password")
        return b"\1" + bytes((len(user),)) + user + bytes((len(password),)) + password

    def _connect(self) -> bytes:
        self._stage = "reply"
        address = _address_of(self._host)
        if address is None:
            name = self._host.encode("ascii")
            written = bytes((_NAME, len(name))) + name
        else:
            written = bytes((_IPV4 if address.version == 4 else _IPV6,)) + address.packed
        return bytes((5, _CONNECT, 0)) + written + self._port.to_bytes(2, "big")

    def _during(self) -> str:
        if self._stage == "login":
            return "when it was told user name and password: it may not take them"
        return "without an answer to the request" if self._stage == "reply" else "without an answer"


class Socks4a(_Talk):
    """Asks a SOCKS 4A proxy for the way to a host and port; see `Negotiation`. There is no IPv6 in it."""

    def __init__(self, host: str, port: int, user: str = "") -> None:
        super().__init__()
        self._host = host
        self._port = port
        self._user = user

    def start(self) -> bytes:
        self._buffer.clear()
        address = _address_of(self._host)
        if address is not None and address.version == 6:
            raise Refused("SOCKS 4A has no IPv6 addresses", hint="use socks:// (5), or the name of the host")
        user = self._user.encode()
        if len(user) > 255 or b"\0" in user:
            raise Refused("SOCKS 4A has room for 255 bytes in a user name")
        target = address.packed if address is not None else b"\0\0\0\1"
        name = b"" if address is not None else self._host.encode("ascii") + b"\0"
        return bytes((4, _CONNECT)) + self._port.to_bytes(2, "big") + target + user + b"\0" + name

    def _wanted(self) -> int:
        begun = bytes(self._buffer[:2])
        return 8 if begun in (b"", b"\0", b"\0\x5a") else 2  # some send no more of a refusal

    def _answer(self, answer: bytes) -> bytes:
        if answer[0] != 0:
            near = " (it looks like HTTP)" if answer[:1] == b"H" else ""
            raise Refused(f"its answer is no SOCKS 4 answer{near}", hint=_NOT_SOCKS)
        if answer[1] != 0x5A:
            reason, hint = _REPLIES_4.get(answer[1], (f"error {answer[1]}", ""))
            raise Refused(f"it answers: {reason}", hint=hint)
        self.opened = True
        return b""
