"""Span steps aside: with peers that do not speak it, refuse its offer, or only pretend to speak it."""

from __future__ import annotations

import asyncio
import contextlib
import http
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

import pytest
from tests.system import configuration, peers
from tests.system.pair import Processes
from tests.system.peers import Backend
from tests.system.process import PATIENCE, Gateway, free_port
from tests.system.span_scene import HOST, Options, start_span_pair
from websockets.asyncio.client import connect as websockets_connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import InvalidStatus
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

SPAN = Subprotocol("span.isthmus.v1")
DATA = bytes(range(256)) * 1000

Answer = Callable[[ServerConnection], Awaitable[None]]
Choose = Callable[[ServerConnection, Sequence[Subprotocol]], Subprotocol | None]


class OtherServer:
    """A WebSocket server that is not isthmus, on a thread: echoes, and writes down what it was offered."""

    def __init__(
        self,
        *,
        choose: Choose | None = None,
        refuse: Callable[[Request], bool] = lambda request: False,
        begin: bytes | str = b"",
    ) -> None:
        self.port = free_port()
        self.offers: list[list[str]] = []

        self._choose = choose or (lambda connection, offered: None)
        self._refuse = refuse
        self._begin = begin
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),))

    def __enter__(self) -> OtherServer:
        self._thread.start()
        assert self._ready.wait(PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(PATIENCE)
        self._loop.close()

    async def _run(self) -> None:
        async with serve(
            self._converse,
            HOST,
            self.port,
            select_subprotocol=self._choose,
            process_request=self._asked,
            compression=None,
            max_size=None,
        ):
            self._ready.set()
            await self._over.wait()

    def _asked(self, connection: ServerConnection, request: Request) -> Response | None:
        offered = request.headers.get_all("Sec-WebSocket-Protocol")
        self.offers.append([name.strip() for line in offered for name in line.split(",")])
        if self._refuse(request):
            return connection.respond(http.HTTPStatus.BAD_REQUEST, "no such subprotocol\n")
        return None

    async def _converse(self, connection: ServerConnection) -> None:
        if self._begin:
            await connection.send(self._begin)
        async for message in connection:
            await connection.send(message)


def start_client(
    processes: Processes, folder: Path, web_port: int, options: Options | None = None
) -> tuple[Gateway, int]:
    """Start a client gateway alone; return it and the port it takes TCP on."""
    port = free_port()
    service = configuration.service(
        f"tcp://{HOST}:{port}", f"ws://{HOST}:{web_port}/", connect_options=options
    )
    gateway = processes.gateway(configuration.write(folder / "client.xml", service))
    return gateway.started(), port


def echoes(port: int) -> None:
    with peers.connect(port) as client:
        sending = threading.Thread(target=client.sendall, args=(DATA,))
        sending.start()
        assert peers.read_exactly(client, len(DATA)) == DATA
        sending.join(PATIENCE)


def test_a_server_without_span(processes: Processes, tmp_path: Path) -> None:
    """It is told with the handshake: the same WebSocket carries the connection."""
    with OtherServer() as server:
        gateway, port = start_client(processes, tmp_path, server.port)
        for number in range(1, 4):
            echoes(port)
            assert len(server.offers) == number
        assert server.offers[0] == [SPAN]
        assert "speaks no span" in gateway.text


def test_a_server_that_refuses_the_offer(processes: Processes, tmp_path: Path) -> None:
    """It is asked once more without, and from then on without at once."""
    with OtherServer(refuse=lambda request: "Sec-WebSocket-Protocol" in request.headers) as server:
        # Such a refusal may be a middlebox's as well: else an emulated WebSocket is tried between the two.
        gateway, port = start_client(processes, tmp_path, server.port, {"ws.fallback": "never"})
        for _ in range(3):
            echoes(port)
        assert server.offers == [[SPAN], [], [], []]
        assert "refuses a handshake that offers span" in gateway.text


def test_several_connects_at_once_to_a_server_without_span(processes: Processes, tmp_path: Path) -> None:
    with OtherServer() as server:
        _, port = start_client(processes, tmp_path, server.port)
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(peers.connect(port)) for _ in range(10)]
            for number, client in enumerate(clients):
                client.sendall(b"%d" % number)
            for number, client in enumerate(clients):
                assert peers.read_exactly(client, 1) == b"%d" % number
        assert len(server.offers) == 10


@pytest.mark.parametrize("begin", [b"", b"welcome to this server", "hello", bytes(8)])
def test_a_server_that_chooses_whatever_is_offered(
    begin: bytes | str, processes: Processes, tmp_path: Path
) -> None:
    """Without a HELLO that is no span. Nothing of a stream was sent: it begins again without the offer."""
    with OtherServer(
        choose=lambda connection, offered: offered[0] if offered else None, begin=begin
    ) as server:
        gateway, port = start_client(processes, tmp_path, server.port, {"connect.timeout": "4 s"})
        for _ in range(2):
            with peers.connect(port) as client:
                client.sendall(b"anybody there?")
                due = begin.encode() if isinstance(begin, str) else begin
                assert peers.read_exactly(client, len(due) + 14) == due + b"anybody there?"
        assert server.offers == [[SPAN], [], []]
        assert "does not speak it" in gateway.text


def test_span_is_required_and_the_server_has_none(processes: Processes, tmp_path: Path) -> None:
    with OtherServer() as server:
        gateway, port = start_client(processes, tmp_path, server.port, {"span.mode": "required"})
        assert peers.is_reset_at(port)
        assert peers.is_reset_at(port)
        gateway.wait_for("span.mode is required")


def test_span_is_required_and_the_server_only_pretends(processes: Processes, tmp_path: Path) -> None:
    with OtherServer(choose=lambda connection, offered: offered[0]) as server:
        options = {"span.mode": "required", "connect.timeout": "2 s"}
        gateway, port = start_client(processes, tmp_path, server.port, options)
        assert peers.is_reset_at(port)
        gateway.wait_for("span.mode is required")


def test_span_is_never_offered(processes: Processes, tmp_path: Path) -> None:
    with OtherServer() as server:
        _, port = start_client(processes, tmp_path, server.port, {"span.mode": "never"})
        echoes(port)
        assert server.offers == [[]]


# --- a gateway that speaks span, and clients that may not


@pytest.fixture(scope="module")
def backend() -> Iterator[Backend]:
    with Backend(peers.echo) as serving:
        yield serving


@pytest.mark.parametrize("subprotocols", [None, ["chat"], ["chat", "superchat"]])
def test_a_client_of_another_kind_stays_plain(
    subprotocols: list[str] | None, processes: Processes, tmp_path: Path, backend: Backend
) -> None:
    pair = start_span_pair(processes, tmp_path, backend.port, web_port=free_port())

    async def talk() -> None:
        offered = None if subprotocols is None else [Subprotocol(name) for name in subprotocols]
        uri = f"ws://{HOST}:{pair.web_port}/tunnel"
        async with websockets_connect(uri, subprotocols=offered, proxy=None) as connection:
            assert connection.subprotocol is None
            await connection.send(b"plain")
            assert await connection.recv() == b"plain"

    asyncio.run(talk())
    echoes(pair.port)  # and beside it a session


def test_a_gateway_without_span_and_one_with(processes: Processes, tmp_path: Path, backend: Backend) -> None:
    """Either side may be told to do without; applications notice nothing."""
    for number, (accept, connect) in enumerate([("never", "auto"), ("auto", "never"), ("never", "never")]):
        folder = tmp_path / str(number)
        folder.mkdir()
        pair = start_span_pair(
            processes,
            folder,
            backend.port,
            web_port=free_port(),
            accept_options={"span.mode": accept},
            connect_options={"span.mode": connect},
        )
        echoes(pair.port)
        assert "outlive" not in pair.client.text


def test_an_accept_that_requires_span_refuses_others(
    processes: Processes, tmp_path: Path, backend: Backend
) -> None:
    pair = start_span_pair(
        processes, tmp_path, backend.port, web_port=free_port(), accept_options={"span.mode": "required"}
    )
    echoes(pair.port)

    async def talk() -> int:
        with pytest.raises(InvalidStatus) as refused:
            async with websockets_connect(f"ws://{HOST}:{pair.web_port}/tunnel", proxy=None):
                pass
        return int(refused.value.response.status_code)

    assert 400 <= asyncio.run(talk()) < 500


def test_a_server_that_lost_the_art_is_told(processes: Processes, tmp_path: Path, backend: Backend) -> None:
    """A downgrade is logged: connections that people believe to be lasting are not."""
    pair = start_span_pair(processes, tmp_path, backend.port, web_port=free_port())
    echoes(pair.port)
    with peers.connect(pair.port) as lasting:
        lasting.sendall(b"here")
        assert peers.read_exactly(lasting, 4) == b"here"
        pair.server.kill()
        text = pair.files["server"].read_text()
        section = "<accept-options>"
        options = f"{section}<span.mode>never</span.mode>"
        if section in text:
            text = text.replace(section, options)
        else:
            text = text.replace("</service>", f"{options}</accept-options></service>")
        pair.files["server"].write_text(text)
        processes.keep(Gateway(pair.files["server"])).started()
        echoes(pair.port)
        pair.client.wait_for("does not speak span any more")
        lasting.close()
