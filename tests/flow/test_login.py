"""Logins through whole gateways, with real sockets: who is let in, who is not, and who has to go."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime as dt
import hashlib
import json
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from joserfc import jwt
from joserfc.jwk import ECKey
from tests.flow.gateways import (
    HOST,
    Application,
    Backend,
    authority,
    client_security,
    configuration,
    echo,
    running,
    server_security,
    service,
)
from tests.security.issuing import issue
from tests.security.realms import HASHES, realm, write
from tests.system.process import free_port
from tests.transports.loops import until
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_websocket
from websockets.exceptions import ConnectionClosed, InvalidStatus

from isthmus.config.model import GatewayConfig, Keystore, Security, Service
from isthmus.config.realm import AuthorizationConstraint
from isthmus.gateway import Gateway
from isthmus.security import followed, watch
from isthmus.transports.span import accept, client

QUICK = {"login.failure.delay": 0}


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at files and identities often."""
    monkeypatch.setattr(watch, "LOOK_SECONDS", 0.05)
    defaults = {**(followed.Followed.__init__.__kwdefaults__ or {}), "look": 0.0}
    monkeypatch.setattr(followed.Followed.__init__, "__kwdefaults__", defaults)


@pytest.fixture
def users(tmp_path: Path) -> Path:
    return write(tmp_path / "users", f"joe:{HASHES['argon2']}:A\nann:{HASHES['bcrypt']}\n")


def guarded(made: Service, *roles: str) -> Service:
    required = (AuthorizationConstraint(require_roles=roles),) if roles else ()
    return made.model_copy(update={"realm_name": "demo", "authorization": required})


def with_users(
    file: Path, *services: Service, scheme: str = "Basic", asked: dict[str, Any] | None = None
) -> GatewayConfig:
    demo = realm(("file", "required", {"file": file}), scheme=scheme, description="Demo", asked=asked)
    return configuration(*services, options=QUICK, security=Security(realms=(demo,)))


def basic(user: str, password: str = "welcome") -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}


def dial(port: int, headers: dict[str, str] | None = None, path: str = "/echo") -> connect_websocket:
    return connect_websocket(
        f"ws://{HOST}:{port}{path}", additional_headers=headers or {}, proxy=None, compression=None
    )


async def status(port: int, headers: dict[str, str] | None = None, path: str = "/echo") -> int:
    """Return the status with which a WebSocket is refused, or 101."""
    try:
        async with dial(port, headers, path) as client:
            await echoes(client)
            return 101
    except InvalidStatus as error:
        return error.response.status_code


async def echoes(client: ClientConnection) -> None:
    await client.send(b"hello")
    assert await asyncio.wait_for(client.recv(), 10) == b"hello"


async def closed_with(client: ClientConnection) -> int | None:
    with pytest.raises(ConnectionClosed):
        await asyncio.wait_for(client.recv(), 20)
    return client.close_code


async def test_who_is_let_in(users: Path) -> None:
    port = free_port()
    config = with_users(users, guarded(service("echo", f"ws://{HOST}:{port}/echo"), "A"))
    async with running(config) as gateway:
        with pytest.raises(InvalidStatus) as caught:
            async with dial(port):
                pass
        assert caught.value.response.status_code == 401
        assert caught.value.response.headers["WWW-Authenticate"] == 'Basic realm="Demo", charset="UTF-8"'
        assert await status(port, basic("joe")) == 101
        assert await status(port, basic("joe", "wrong")) == 401
        assert await status(port, basic("nobody")) == 401
        assert await status(port, basic("ann")) == 403
        assert await status(port, path="/other") == 404, "what is not there needs no login"
        await until(lambda: gateway.accepts.quota.used == 0)


async def test_application_basic_is_kaazings_challenge(users: Path) -> None:
    port = free_port()
    made = guarded(service("echo", f"ws://{HOST}:{port}/echo"))
    async with running(with_users(users, made, scheme="Application Basic")):
        with pytest.raises(InvalidStatus) as caught:
            async with dial(port):
                pass
        assert caught.value.response.headers["WWW-Authenticate"] == 'Application Basic realm="Demo"'
        assert await status(port, basic("joe")) == 101


async def test_the_service_never_sees_who_is_not_let_in(users: Path) -> None:
    port = free_port()
    seen: list[Application] = []

    async def noted(application: Application) -> int:
        seen.append(application)
        return await echo(application)

    async with Backend(noted) as backend:
        made = guarded(service("proxy", f"ws://{HOST}:{port}/echo", f"tcp://{HOST}:{backend.port}"))
        async with running(with_users(users, made)):
            assert await status(port, basic("joe", "wrong")) == 401
            assert await status(port) == 401
            assert not seen
            assert await status(port, basic("joe")) == 101
            assert len(seen) == 1


async def test_files_over_http(users: Path, tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "a.txt").write_text("hello")
    port = free_port()
    made = guarded(service("directory", f"http://{HOST}:{port}/", directory="/"), "A")
    async with running(with_users(users, made), home=tmp_path), ClientSession() as session:
        for user, expected in ((None, 401), ("ann", 403), ("joe", 200), ("joe", 200)):
            headers = basic(user) if user else {}
            async with session.get(f"http://{HOST}:{port}/a.txt", headers=headers) as answer:
                assert answer.status == expected
                text = await answer.text()
            if expected == 401:
                assert answer.headers["WWW-Authenticate"].startswith('Basic realm="Demo"')
            if expected == 200:
                assert text == "hello"
                assert "private" in answer.headers["Cache-Control"]
        await session.close()


async def test_who_vanishes_has_to_go(users: Path) -> None:
    port = free_port()
    async with Backend(echo) as backend:
        made = guarded(service("proxy", f"ws://{HOST}:{port}/echo", f"tcp://{HOST}:{backend.port}"))
        async with (
            running(with_users(users, made)),
            dial(port, basic("joe")) as joe,
            dial(port, basic("ann")) as ann,
        ):
            await echoes(joe)
            write(users, f"ann:{HASHES['bcrypt']}\n")
            assert await closed_with(joe) == 1008
            await echoes(ann)
            assert await status(port, basic("joe")) == 401


async def test_a_session_has_an_end(users: Path) -> None:
    port = free_port()
    made = guarded(service("echo", f"ws://{HOST}:{port}/echo"))
    config = with_users(users, made, asked={"session-timeout": 0.5})
    async with running(config), dial(port, basic("joe")) as client:
        await echoes(client)
        assert await closed_with(client) == 1008


async def test_who_leaves_while_it_waits_frees_its_place(
    users: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of them end their direction, half of them reset."""
    from isthmus.security import passwords

    def slow(hashed: str, password: str) -> bool:
        time.sleep(0.5)
        return True

    monkeypatch.setattr(passwords, "verify", slow)
    port = free_port()
    config = with_users(users, guarded(service("echo", f"ws://{HOST}:{port}/echo")))
    async with running(config) as gateway:
        doors: Any = gateway._doors
        for how in ("end", "reset"):
            client = await Application.connect(port)
            head = "\r\n".join(
                [
                    "GET /echo HTTP/1.1",
                    f"Host: {HOST}:{port}",
                    "Upgrade: websocket",
                    "Connection: Upgrade",
                    "Sec-WebSocket-Version: 13",
                    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
                    f"Authorization: {basic(how)['Authorization']}",
                ]
            )
            write(users, f"{how}:{HASHES['argon2']}")
            await client.send(f"{head}\r\n\r\n".encode())
            await until(lambda: doors.desk.pending == 1)
            client.reset() if how == "reset" else client.close()
            await until(lambda: doors.desk.pending == 0 and gateway.accepts.quota.used == 0)
        assert doors.desk.counters.abandoned == 2


def row(token: str, subject: str = "site-1", expires: float | None = None) -> str:
    """Return a line of a table of tokens."""
    parts = [hashlib.sha256(token.encode()).hexdigest(), subject]
    if expires is not None:
        parts += ["", dt.datetime.fromtimestamp(expires, dt.UTC).isoformat()]
    return ":".join(parts) + "\n"


class Sites:
    """A client gateway with a token in a file, and a server gateway with a table of tokens."""

    def __init__(self, folder: Path, mode: str) -> None:
        self.table = write(folder / "tokens", row("first"))
        self.file = write(folder / "token", "first")
        self.mode = mode
        self.outer, self.inner = free_port(), free_port()

    @contextlib.asynccontextmanager
    async def running(
        self, handler: Callable[[Application], Awaitable[int]] = echo
    ) -> AsyncIterator[Gateway]:
        demo = realm(("token", "required", {"file": self.table}), scheme="Bearer")
        security = server_security().model_copy(update={"realms": (demo,)})
        to = f"wss://{HOST}:{self.outer}/x"
        options = {"http.authorization.file": self.file, "span.mode": self.mode}
        near = service("proxy", f"tcp://{HOST}:{self.inner}", to, connect_options=options)
        async with Backend(handler) as backend:
            server = guarded(service("proxy", to, f"tcp://{HOST}:{backend.port}"))
            async with (
                running(configuration(server, options=QUICK, security=security)) as gateway,
                running(configuration(near, security=client_security())),
            ):
                yield gateway

    async def exchanges(self, application: Application) -> None:
        await application.send(b"hello")
        assert await asyncio.wait_for(application.exactly(5), 20) == b"hello"


async def test_two_gateways_with_a_token_that_changes(tmp_path: Path) -> None:
    """The client gateway shows a token out of a file; a new one is used without a restart."""
    sites = Sites(tmp_path, "never")
    async with sites.running():
        with await Application.connect(sites.inner) as application:
            await sites.exchanges(application)
            write(sites.table, row("second"))
            assert await application.is_reset(), "the old token is no longer there"
        with await Application.connect(sites.inner) as application:
            assert await application.is_reset()
        write(sites.file, "second")
        with await Application.connect(sites.inner) as application:
            await sites.exchanges(application)


async def test_a_stream_outlives_its_token_where_another_one_comes_in_time(tmp_path: Path) -> None:
    sites = Sites(tmp_path, "required")
    async with sites.running() as gateway:
        with await Application.connect(sites.inner) as application:
            await sites.exchanges(application)
            write(sites.table, row("second"))
            doors: Any = gateway._doors
            await until(lambda: doors.watch.dismissed == 1)
            write(sites.file, "second")
            await sites.exchanges(application)


async def test_a_token_is_renewed_before_it_ends(tmp_path: Path) -> None:
    """Another carrier takes over, and nothing stops meanwhile."""
    sites = Sites(tmp_path, "required")
    write(sites.table, row("first", expires=time.time() + 6) + row("second"))
    async with sites.running() as gateway:
        with await Application.connect(sites.inner) as application:
            await sites.exchanges(application)
            write(sites.file, "second")
            doors: Any = gateway._doors
            await until(lambda: doors.desk.counters.succeeded == 2)
            await sites.exchanges(application)
            assert doors.watch.dismissed == 0, "the first one still stands"
            await until(lambda: len(doors.watch) == 1)
            await sites.exchanges(application)


async def test_who_does_not_come_back_in_time_loses_its_streams(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (accept, client):
        monkeypatch.setattr(module, "RENEWAL_SECONDS", 0.3)
    sites = Sites(tmp_path, "required")
    async with sites.running():
        with await Application.connect(sites.inner) as application:
            await sites.exchanges(application)
            write(sites.table, "")
            write(sites.file, "nonsense")
            assert await application.is_reset()


async def test_another_identity_does_not_get_the_streams_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accept, "RENEWAL_SECONDS", 0.3)
    sites = Sites(tmp_path, "required")
    async with sites.running():
        with await Application.connect(sites.inner) as application:
            await sites.exchanges(application)
            write(sites.file, "second")
            write(sites.table, row("second", "site-2"))
            assert await application.is_reset()
        with await Application.connect(sites.inner) as application:
            await sites.exchanges(application)


async def test_a_refusal_says_what_to_do(users: Path, caplog: pytest.LogCaptureFixture) -> None:
    outer, inner = free_port(), free_port()
    server = guarded(service("echo", f"ws://{HOST}:{outer}/x"))
    client = service("proxy", f"tcp://{HOST}:{inner}", f"ws://{HOST}:{outer}/x")
    async with running(with_users(users, server)), running(configuration(client)):
        with await Application.connect(inner) as application:
            assert await application.is_reset()
    assert 'answered 401 Unauthorized (it asks for Basic realm="Demo"' in caplog.text
    assert "http.authorization.file" in caplog.text


async def test_signed_tokens_end_when_they_say(tmp_path: Path) -> None:
    key = ECKey.generate_key("P-256", {"kid": "k"})
    write(tmp_path / "keys", json.dumps({"keys": [key.as_dict(private=False)]}))
    options = {"jwks-file": tmp_path / "keys", "issuer": "me", "audience": "gw", "leeway": 0}
    demo = realm(
        ("jwt", "required", options), scheme="Application Token", asked={"http-query-parameter": ("auth",)}
    )
    port = free_port()
    made = guarded(service("echo", f"ws://{HOST}:{port}/echo"), "A")

    def token(seconds: float, roles: tuple[str, ...] = ("A",)) -> str:
        claims = {"iss": "me", "aud": "gw", "sub": "joe", "exp": time.time() + seconds, "roles": roles}
        return jwt.encode({"alg": "ES256", "kid": "k"}, claims, key)

    async with running(configuration(made, options=QUICK, security=Security(realms=(demo,)))):
        assert await status(port, {"Authorization": f"Token {token(60)}"}) == 101
        assert await status(port, path=f"/echo?auth={token(60)}") == 101
        assert await status(port, path=f"/echo?auth={token(60, ())}") == 403
        assert await status(port, path=f"/echo?auth={token(-1)}") == 401
        async with dial(port, {"Authorization": f"Token {token(1)}"}) as client:
            await echoes(client)
            assert await closed_with(client) == 1008


@pytest.mark.parametrize("kind", ["aiofastnet", "layer"])
async def test_a_certificate_is_who_one_is(tmp_path: Path, kind: str) -> None:
    joe, ann = issue("joe"), issue("ann")
    believed = write(tmp_path / "clients.pem", (joe.pem + ann.pem).decode())
    demo = realm(("certificate", "required", {"role": ["A"]}), scheme="Certificate")
    security = Security(
        keystore=server_security().keystore,
        truststore=Keystore(file=believed),
        realms=(demo,),
    )
    port = free_port()
    made = service("echo", f"wss://{HOST}:{port}/echo", accept_options={"ssl.verify-client": "optional"})
    only_joe = (AuthorizationConstraint(require_roles=("A",), require_users=("joe",)),)
    made = made.model_copy(update={"realm_name": "demo", "authorization": only_joe})

    async def asked(context: ssl.SSLContext) -> int:
        uri = f"wss://{HOST}:{port}/echo"
        try:
            async with connect_websocket(uri, ssl=context, proxy=None, compression=None) as client:
                await echoes(client)
                return 101
        except InvalidStatus as error:
            return error.response.status_code

    async with running(configuration(made, options={**QUICK, "tls.transport": kind}, security=security)):
        assert await asked(authority().client_context()) == 403
        for who, expected in ((joe, 101), (ann, 403)):
            file = write(tmp_path / "client.pem", (who.pem + who.key_pem()).decode())
            context = authority().client_context()
            context.load_cert_chain(file)
            assert await asked(context) == expected


async def test_a_certificate_is_who_a_stream_in_tls_is(tmp_path: Path) -> None:
    """Nobody can be asked there: who may not come in sees a reset, and who has to go, too."""
    joe, ann = issue("joe"), issue("ann")
    believed = write(tmp_path / "clients.pem", (joe.pem + ann.pem).decode())
    demo = realm(("certificate", "required", {}), scheme="Certificate", asked={"session-timeout": "1 s"})
    security = Security(
        keystore=server_security().keystore, truststore=Keystore(file=believed), realms=(demo,)
    )
    port = free_port()
    made = service("echo", f"ssl://{HOST}:{port}", accept_options={"ssl.verify-client": "optional"})
    only_joe = (AuthorizationConstraint(require_users=("joe",)),)
    made = made.model_copy(update={"realm_name": "demo", "authorization": only_joe})

    async def talk(context: ssl.SSLContext) -> bytes:
        """Return what came back, having waited for the end."""
        reader, writer = await asyncio.open_connection(HOST, port, ssl=context)
        back = b""
        try:
            async with asyncio.timeout(20):
                writer.write(b"hello")
                back = await reader.readexactly(5)
                assert await reader.read() == b"", "nothing but an end, one way or the other"
        except (ConnectionError, ssl.SSLError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()
        return back

    async with running(configuration(made, options=QUICK, security=security)):
        assert await talk(authority().client_context()) == b""
        for who, expected in ((joe, b"hello"), (ann, b"")):
            file = write(tmp_path / "client.pem", (who.pem + who.key_pem()).decode())
            context = authority().client_context()
            context.load_cert_chain(file)
            assert await talk(context) == expected


async def test_too_many_failures(users: Path) -> None:
    port = free_port()
    config = with_users(users, guarded(service("echo", f"ws://{HOST}:{port}/echo")))
    async with running(config):
        statuses = [await status(port, basic("joe", f"wrong{n}")) for n in range(12)]
        assert statuses == [401] * 10 + [429] * 2
        assert await status(port) == 401


async def test_no_secret_is_in_any_log(
    users: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Everything at level debug, of all libraries, with secrets in every place that can have one."""
    caplog.set_level(1)
    asyncio.get_running_loop().set_debug(True)
    secret, encoded = "s3cretw0rd", base64.b64encode(b"joe:s3cretw0rd").decode()
    outer, inner, web = free_port(), free_port(), free_port()
    file = write(tmp_path / "credentials", f"joe:{secret}")
    (tmp_path / "web").mkdir()
    demo = realm(("file", "required", {"file": users}))
    tokens = realm(
        ("jwt", "required", {"jwks-file": tmp_path / "keys", "issuer": "i", "audience": "a"}),
        scheme="Application Token",
        name="tokens",
        asked={"http-query-parameter": ("auth",), "http-cookie": ("sid",), "http-header": ("X-Auth",)},
    )
    key = ECKey.generate_key("P-256")
    write(tmp_path / "keys", json.dumps({"keys": [key.as_dict(private=False)]}))
    server = guarded(service("echo", f"ws://{HOST}:{outer}/x"))
    other = service("echo", f"ws://{HOST}:{outer}/t", name="t").model_copy(update={"realm_name": "tokens"})
    files = guarded(service("directory", f"http://{HOST}:{web}/", directory="/"))
    options = {"http.authorization.file": file, "http.authorization.insecure": "allowed"}
    client = service("proxy", f"tcp://{HOST}:{inner}", f"ws://{HOST}:{outer}/x", connect_options=options)
    security = Security(realms=(demo, tokens))
    async with (
        running(configuration(server, other, files, options=QUICK, security=security), home=tmp_path),
        running(configuration(client)),
        ClientSession() as session,
    ):
        with await Application.connect(inner) as application:
            assert await application.is_reset()
        for headers in (
            basic("joe", secret),
            {"Authorization": f"Basic {secret}"},
            {"Authorization": secret},
        ):
            assert await status(outer, headers, "/x") == 401
            async with session.get(f"http://{HOST}:{web}/a?auth={secret}", headers=headers) as answer:
                assert answer.status in (401, 429)
        for headers, path in (
            ({}, f"/t?auth={secret}"),
            ({"Cookie": f"sid={secret}"}, "/t"),
            ({"X-Auth": secret}, "/t"),
            ({"Authorization": f"Token a.{secret}.b"}, "/t"),
        ):
            assert await status(outer, headers, path) in (401, 429)
        await session.close()
    said = caplog.text + "".join(capsys.readouterr())
    ours = [record for record in caplog.records if record.name.startswith("isthmus")]
    assert len(ours) > 10
    assert "login to demo as 'joe' failed" in said
    # The test's own client is not the gateway.
    said = "\n".join(
        f"{record.getMessage()} {record.exc_text}"
        for record in caplog.records
        if not record.name.startswith("websockets")
    )
    for text in (secret, encoded, HASHES["argon2"], HASHES["bcrypt"]):
        assert text not in said


async def test_nothing_is_left_of_logins(users: Path) -> None:
    port = free_port()
    config = with_users(users, guarded(service("echo", f"ws://{HOST}:{port}/echo")))
    async with running(config) as gateway:
        assert await status(port, basic("joe")) == 101
        doors: Any = gateway._doors
        await until(lambda: len(doors.watch) == 0)
    assert doors.desk._pool is None
