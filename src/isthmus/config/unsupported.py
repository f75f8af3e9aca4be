"""What a Kaazing file may say and isthmus does not do yet: refused by name, never ignored in silence.

One table for elements and options, by the place they stand in, and one for values. When a feature is built,
its line goes. A value that asks for nothing (`http.maximum.redirects` 0) is harmless and accepted without
effect. Schemes have their own list: `uri.LATER_SCHEMES`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass


def _never(value: str) -> bool:
    return False


def _zero(value: str) -> bool:
    return re.fullmatch(r"0+(\.0*)?\s*[A-Za-z]*", value) is not None


def _one_of(*values: str) -> Callable[[str], bool]:
    return lambda value: value in values


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an element or option is refused; `harmless` tells which of its values may stand."""

    reason: str
    harmless: Callable[[str], bool] = _never


_NO_TRANSPORT = "isthmus chooses the layers below a scheme itself for now"
_REVERSE = "isthmus has no reverse connections over SOCKS yet"
_NO_HTTP_CLIENT = "isthmus sends no HTTP requests other than WebSocket handshakes yet"

_BOTH_OPTIONS = {
    **dict.fromkeys(("pipe.transport", "udp.transport", "ws.transport"), Refusal(_NO_TRANSPORT)),
    "ssl.encryption": Refusal("TLS without encryption does not exist here", _one_of("enabled")),
}

ELEMENTS: dict[str, dict[str, Refusal]] = {
    "gateway-config": {
        "cluster": Refusal("isthmus gateways do not share state yet; each runs on its own"),
        "management": Refusal("isthmus has no management services yet"),
        "session": Refusal("Kaazing removed it; leave it out"),
        "network": Refusal("isthmus has no network section; use accept-options and binds"),
    },
    "service": {
        "balance": Refusal("isthmus does not balance yet"),
        "notify": Refusal("isthmus has no push notification services"),
    },
    "accept-options": {
        **_BOTH_OPTIONS,
        **dict.fromkeys(("tcp.transport", "ssl.transport", "http.transport"), Refusal(_NO_TRANSPORT)),
        "http.maximum.redirects": Refusal(_NO_HTTP_CLIENT, _zero),
        "http.realm": Refusal("write realm-name in the service"),
        "http.server.header": Refusal(
            "isthmus does not let the Server header be chosen yet", _one_of("enabled")
        ),
        "pipe.bind": Refusal("write unix:///path instead of pipe"),
    },
    "connect-options": {
        **_BOTH_OPTIONS,
        "tcp.maximum.outbound.rate": Refusal("it is an accept-option: what is sent to clients is limited"),
        "ws.version": Refusal("isthmus speaks RFC 6455 only", _one_of("rfc6455", "13")),
        "http.keepalive": Refusal(_NO_HTTP_CLIENT, _one_of("enabled")),
        "http.keepalive.timeout": Refusal(
            _NO_HTTP_CLIENT, _one_of("30", "30 s", "30s", "30 seconds", "30 sec")
        ),
        "http.keepalive.connections": Refusal(_NO_HTTP_CLIENT, _one_of("2")),
        "http.max.authentication.attempts": Refusal(_NO_HTTP_CLIENT, _zero),
        "socks.mode": Refusal(_REVERSE, _one_of("forward")),
        "socks.timeout": Refusal("connect.timeout is for the whole of a connect, its proxies too"),
        "socks.retry.maximum.interval": Refusal(_REVERSE),
        "socks.transport": Refusal("write socks+ssl:// in http.transport, or a chain of proxies there"),
        **dict.fromkeys(
            ("socks.ssl.ciphers", "socks.ssl.protocols"), Refusal("ssl.* is for TLS to a proxy as well")
        ),
        "socks.ssl.verify-client": Refusal(_REVERSE),
    },
    "proxy": {
        "internal.maximum.transferred.bytes": Refusal(
            "isthmus does not end connections by bytes transferred"
        ),
    },
    "directory": {},
    "echo": {},
}
"""Place (the section an element stands in; for `properties` the type of the service) -> name -> refusal."""

_NO_KERBEROS = "isthmus does not speak Kerberos; use an ldap or jwt module"
_OLD_TLS = "TLS 1.2 is the least isthmus speaks"

VALUES: dict[str, dict[str, str]] = {
    "service type": {
        "broadcast": "it is not supported yet",
        "balancer": "it is not supported yet",
        "http.proxy": "it is not supported yet",
        "http.redirect": "it is not supported yet",
        "turn.rest": "it is not supported yet",
        "amqp.proxy": "it is not supported yet; a proxy service carries AMQP as it is",
        "management.jmx": "isthmus is not a Java program; leave this service out",
        "management.snmp": "it was removed from Kaazing; leave this service out",
        "update.check": "isthmus does not look for updates; leave this service out",
        "session": "it was removed from Kaazing; leave this service out",
        "redis": "it is a Kaazing Enterprise service",
        "jms": "it is a Kaazing Enterprise service",
        "jms.proxy": "it is a Kaazing Enterprise service",
        "kerberos5.proxy": "it is a Kaazing Enterprise service",
    },
    "http-challenge-scheme": {
        "Negotiate": "isthmus does not speak Kerberos; use Basic with an ldap module, or Bearer with jwt",
        "Application Negotiate": "isthmus does not speak Kerberos; use Application Basic with an ldap module",
        "Digest": "Kaazing never had it, and it needs passwords in plain text; use Basic over https and wss",
    },
    "authorization-mode": {
        "recycle": "isthmus sets no session cookies; a right password is known again for login.cache.time",
    },
    "login-module type": {
        "kerberos5": _NO_KERBEROS,
        "gss": _NO_KERBEROS,
        "jndi": "isthmus has no JNDI; use an ldap module",
        "keystore": "isthmus has no Java keystore login; use a certificate module with ssl.verify-client",
        "class:": "it is a Java program; use a jwt or token module, which check tokens themselves",
        "custom": "it is a Java program; use a jwt or token module, which check tokens themselves",
    },
    "TLS protocol": {
        "SSLv2Hello": _OLD_TLS,
        "SSLv2": _OLD_TLS,
        "SSLv3": _OLD_TLS,
        "TLSv1": _OLD_TLS,
        "TLSv1.0": _OLD_TLS,
        "TLSv1.1": _OLD_TLS,
    },
}
"""What a value is -> value -> why it is refused."""
