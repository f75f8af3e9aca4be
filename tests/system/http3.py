"""A small HTTP/3 server and client on aioquic: one file over QUIC, which is nothing but UDP datagrams."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import serve
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, H3Event, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import QuicEvent


class _Http3(QuicConnectionProtocol):
    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.http = H3Connection(self._quic)

    def quic_event_received(self, event: QuicEvent) -> None:
        for each in self.http.handle_event(event):
            self.http_event(each)

    def http_event(self, event: H3Event) -> None:
        raise NotImplementedError


class _Server(_Http3):
    content = b""

    def http_event(self, event: H3Event) -> None:
        if isinstance(event, HeadersReceived):
            size = str(len(self.content)).encode()
            self.http.send_headers(event.stream_id, [(b":status", b"200"), (b"content-length", size)])
            self.http.send_data(event.stream_id, self.content, end_stream=True)
            self.transmit()


class _Client(_Http3):
    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.body = bytearray()
        self.done = asyncio.get_running_loop().create_future()

    def http_event(self, event: H3Event) -> None:
        if isinstance(event, DataReceived):
            self.body += event.data
        if getattr(event, "stream_ended", False) and not self.done.done():
            self.done.set_result(bytes(self.body))


async def download(
    server_port: int, client_port: int, content: bytes, certificate: Path, root: Path
) -> bytes:
    """Serve `content` on `server_port` and fetch it by way of `client_port`; return what came.

    `certificate` is a PEM file with chain and key for 127.0.0.1, `root` what the client believes.
    """
    serving = QuicConfiguration(is_client=False, alpn_protocols=H3_ALPN)
    serving.load_cert_chain(certificate, certificate)

    class Server(_Server):
        pass

    Server.content = content
    server = await serve("127.0.0.1", server_port, configuration=serving, create_protocol=Server)
    try:
        asking = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN, server_name="127.0.0.1")
        asking.load_verify_locations(str(root))
        async with connect(
            "127.0.0.1", client_port, configuration=asking, create_protocol=_Client, local_port=0
        ) as client:
            assert isinstance(client, _Client)
            stream = client._quic.get_next_available_stream_id()
            headers = [
                (b":method", b"GET"),
                (b":scheme", b"https"),
                (b":authority", b"127.0.0.1"),
                (b":path", b"/file"),
            ]
            client.http.send_headers(stream, headers, end_stream=True)
            client.transmit()
            async with asyncio.timeout(60):
                body: bytes = await client.done
            return body
    finally:
        server.close()
