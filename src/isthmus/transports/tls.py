"""TLS on a connected socket, in two ways behind one pair of functions, `accept_tls` and `connect_tls`:

    kind          what it is                                          half-close  for
    ----------------------------------------------------------------------------------------------------
    aiofastnet    aiofastnet on the socket: `tls_socket.SocketTls`    no          ws, wss, http, https
    layer         our own over any transport: `tls_layer.TlsLayer`    yes         ssl, tls: any application

Both tell an end from a cut (RFC 8446, section 6.1): only a close_notify is an end of input; a connection that
stops without one may have been cut by anybody on the way, so it is a loss.

Do not set `sni_callback` on a context: called from Python, it crashes aiofastnet. `transports.sni` chooses
among several certificates before TLS begins.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Literal

from isthmus.errors import ConnectError
from isthmus.security.failure import explain_client, explain_failure
from isthmus.transports.base import Dial, Receiver, peer_name
from isthmus.transports.tcp import TcpTransport
from isthmus.transports.tls_layer import HandshakeFailed, TlsLayer
from isthmus.transports.tls_socket import SocketTls
from isthmus.uri import Address

log = logging.getLogger(__name__)

Kind = Literal["aiofastnet", "layer"]


def accept_tls(
    sock: socket.socket,
    context: ssl.SSLContext,
    receiver: Receiver,
    *,
    handshake_timeout: float,
    kind: Kind = "aiofastnet",
    failed: Callable[[], None] | None = None,
) -> Dial:
    """Answer a client's handshake on `sock`, connected and not blocking, which now belongs to the callee.

    `receiver.connection_made` follows, never before this returns. A handshake that fails is logged and its
    connection dropped; `failed` is called then. `handshake_timeout` is in seconds.
    """
    peer = name_of(sock)

    def tell(error: BaseException, certificate: bytes | None) -> None:
        log_failed(peer, error)
        if failed is not None:
            failed()

    return _start(sock, context, receiver, tell, handshake_timeout, kind, None)


def connect_tls(
    sock: socket.socket,
    context: ssl.SSLContext,
    address: Address,
    receiver: Receiver,
    failed: Callable[[ConnectError], None],
    *,
    handshake_timeout: float,
    kind: Kind = "aiofastnet",
) -> Dial:
    """Begin a handshake with the server `address.host` on `sock`, which now belongs to the callee.

    Either `receiver.connection_made` or `failed` follows, once, and never before this returns. The
    certificate must be for `address.host`, unless `context` says otherwise. `handshake_timeout` is in
    seconds.
    """

    def tell(error: BaseException, certificate: bytes | None) -> None:
        failed(explain_failure(error, address, certificate))

    return _start(sock, context, receiver, tell, handshake_timeout, kind, address.host.rstrip("."))


def _start(
    sock: socket.socket,
    context: ssl.SSLContext,
    receiver: Receiver,
    failed: HandshakeFailed,
    handshake_timeout: float,
    kind: Kind,
    server_name: str | None,
) -> Dial:
    loop = asyncio.get_running_loop()
    if kind == "aiofastnet":
        return SocketTls(loop, sock, context, receiver, failed, handshake_timeout, server_name)
    layer = TlsLayer(loop, context, receiver, failed, handshake_timeout, server_name)
    TcpTransport(loop, sock).start(layer)
    return layer


def log_failed(peer: str, error: BaseException) -> None:
    """Log why the handshake with the client `peer` failed, in one line."""
    reason, _ = explain_client(error, f"the client {peer}")
    log.info("TLS handshake failed: %s", reason)


def name_of(sock: socket.socket) -> str:
    try:
        return peer_name(sock.getpeername())
    except OSError:
        return peer_name(None)
