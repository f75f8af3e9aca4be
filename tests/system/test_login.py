"""Logins with real processes: a directory that is really asked, a prompt that really hides, logs in full."""

from __future__ import annotations

import base64
import os
import pty
import select
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.system.certificates import Authority
from tests.system.configuration import write
from tests.system.pair import Processes
from tests.system.process import ISTHMUS, PATIENCE, environment, eventually, free_port
from tests.system.requirements import Requirements
from tests.system.slapd import Slapd
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as connect_websocket

REALM = """\
<security><realm><name>people</name><authentication>
<http-challenge-scheme>Application Basic</http-challenge-scheme>
<login-modules>{modules}</login-modules></authentication></realm></security>"""
LDAP = """\
<login-module><type>ldap</type><success>{success}</success><options>
<userProvider>ldaps://127.0.0.1:{port}/ou=people,dc=example,dc=com</userProvider>
<userFilter>(uid={{USERNAME}})</userFilter>
<role-base>ou=groups,dc=example,dc=com</role-base><ca-file>{ca}</ca-file></options></login-module>"""
FILE = """\
<login-module><type>file</type><success>sufficient</success>
<options><file>users</file></options></login-module>"""
ECHO = """\
<service><accept>ws://127.0.0.1:{port}/echo</accept><type>echo</type><realm-name>people</realm-name>
<authorization-constraint><require-role>OPERATORS</require-role></authorization-constraint></service>"""


@pytest.fixture
def slapd(need: Requirements, tmp_path: Path, authority: Authority) -> Iterator[Slapd]:
    program = need.program("slapd")
    running = Slapd(program, tmp_path / "slapd", authority)
    yield running
    running.stop()


def dial(port: int, user: str, password: str) -> ClientConnection:
    encoded = base64.b64encode(f"{user}:{password}".encode()).decode()
    headers = {"Authorization": f"Basic {encoded}"}
    return connect_websocket(
        f"ws://127.0.0.1:{port}/echo",
        additional_headers=headers,
        proxy=None,
        compression=None,
        open_timeout=PATIENCE,
    )


def status(port: int, user: str, password: str) -> int:
    try:
        with dial(port, user, password) as client:
            client.send(b"hello")
            assert client.recv(PATIENCE) == b"hello"
            return 101
    except InvalidStatus as error:
        return error.response.status_code


def test_a_directory_and_a_file(
    slapd: Slapd, processes: Processes, authority: Authority, tmp_path: Path
) -> None:
    """Users of the directory and of a file, in one realm; nothing of what they type is in any log."""
    port = free_port()
    set_password(tmp_path / "users", "site-1", "filepassw0rd", "OPERATORS")
    modules = FILE + LDAP.format(success="required", port=slapd.tls_port, ca=authority.truststore)
    config = write(tmp_path / "gateway.xml", ECHO.format(port=port), REALM.format(modules=modules))
    gateway = processes.gateway(config, "--log-level", "debug", "--log-file", tmp_path / "log").started()
    assert status(port, "joe", "welcome") == 101
    assert status(port, "joe", "wr0ngpassw0rd") == 401
    assert status(port, "ann", "anns") == 403, "she is in no group"
    assert status(port, "nobody", "nobodyspassw0rd") == 401
    assert status(port, "site-1", "filepassw0rd") == 101
    with dial(port, "site-1", "filepassw0rd") as client:
        client.send(b"hello")
        assert client.recv(PATIENCE) == b"hello"
        renamed = (tmp_path / "users").read_text().replace("site-1", "site-2")
        (tmp_path / "users").write_text(renamed)
        with pytest.raises(ConnectionClosed):
            client.recv(PATIENCE)
        assert client.protocol.close_code == 1008
    slapd.stop()
    assert status(port, "joe", "w0rdwhileaway") in (503, 429)
    assert status(port, "joe", "welcome") == 101, "known since a moment ago"
    assert gateway.stop() == 0
    said = gateway.text + (tmp_path / "log").read_text()
    assert "login to people as 'joe' failed" in said
    assert "(people/joe) -> echo" in said
    assert "no LDAP server answers" in said
    for secret in ("welcome", "wr0ngpassw0rd", "nobodyspassw0rd", "filepassw0rd", "w0rdwhileaway", "$argon2"):
        assert secret not in said


def set_password(file: Path, user: str, password: str, role: str) -> None:
    command = [*ISTHMUS, "password", str(file), user, "--role", role]
    subprocess.run(command, input=f"{password}\n".encode(), env=environment(), check=True, timeout=60)


def test_a_prompt_does_not_show_what_is_typed(tmp_path: Path) -> None:
    main, other = pty.openpty()
    command = [*ISTHMUS, "password", str(tmp_path / "users"), "joe"]
    shown = b""
    with subprocess.Popen(
        command, stdin=other, stdout=other, stderr=other, env=environment(), start_new_session=True
    ) as process:
        os.close(other)
        try:
            for prompt in (b"Password of joe: ", b"epeat for confirmation: "):
                shown += _read_until(main, prompt)
                os.write(main, b"s3cretw0rd\n")
            shown += _read_until(main, b"is added")
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()
            os.close(main)
    assert b"s3cretw0rd" not in shown
    assert (tmp_path / "users").read_text().startswith("joe:$argon2id$")


def _read_until(descriptor: int, text: bytes) -> bytes:
    found = b""
    until = time.monotonic() + PATIENCE
    while text not in found:
        assert time.monotonic() < until, found
        if select.select([descriptor], [], [], 0.2)[0]:
            found += os.read(descriptor, 4096)
    return found


def test_what_is_missing_is_told_at_the_start(processes: Processes, tmp_path: Path) -> None:
    config = write(tmp_path / "gateway.xml", ECHO.format(port=free_port()), REALM.format(modules=FILE))
    gateway = processes.gateway(config)
    assert gateway.refuses() == 2
    assert "users cannot be read: No such file" in gateway.text
    eventually(lambda: not gateway.running, "it has ended")
