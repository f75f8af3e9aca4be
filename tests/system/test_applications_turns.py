"""Protocols in which turns matter: a server that speaks first, a client that ends before it reads."""

from __future__ import annotations

import hashlib
import os
import smtplib
import socket
import time
from pathlib import Path

import pytest
from tests.system.certificates import Authority
from tests.system.pair import Processes, start_pair
from tests.system.peers import Backend, connect, read_all, read_exactly
from tests.system.process import PATIENCE, free_port, run
from tests.system.requirements import Requirements

# --- SMTP: the server speaks first


GREETING = b"220 mail.example.com ready\r\n"


class MailServer:
    """As much of SMTP (RFC 5321) as a client needs to deliver. `received` has the messages, dot-stuffed."""

    def __init__(self) -> None:
        self.received: list[bytes] = []

    def serve(self, connection: socket.socket) -> int:
        """Handle one session; returns how many messages it brought."""
        before = len(self.received)
        with connection.makefile("rwb") as session:

            def say(line: bytes) -> None:
                session.write(line + b"\r\n")
                session.flush()

            session.write(GREETING)
            session.flush()
            for line in session:
                match line.split()[0].upper():
                    case b"EHLO":
                        say(b"250-mail.example.com\r\n250-SIZE 50000000\r\n250 8BITMIME")
                    case b"DATA":
                        say(b"354 go on")
                        lines = iter(session.readline, b".\r\n")
                        self.received.append(b"".join(lines))
                        say(b"250 kept")
                    case b"QUIT":
                        say(b"221 goodbye")
                        break
                    case b"HELO" | b"MAIL" | b"RCPT" | b"RSET" | b"NOOP":
                        say(b"250 ok")
                    case _:
                        say(b"502 not known here")
        return len(self.received) - before


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_smtp(scheme: str, processes: Processes, tmp_path: Path, authority: Authority) -> None:
    mail = MailServer()
    with Backend(mail.serve) as server:
        pair = start_pair(
            processes, tmp_path, f"tcp://127.0.0.1:{server.port}", scheme=scheme, authority=authority
        )
        with connect(pair.port) as silent:
            silent.settimeout(PATIENCE)
            # The client has sent nothing yet.
            assert read_exactly(silent, len(GREETING)) == GREETING
        sent = []
        with smtplib.SMTP("127.0.0.1", pair.port, "client.example.com", timeout=PATIENCE) as client:
            client.ehlo()
            assert client.has_extn("size")
            for number in range(3):
                lines = [f"Subject: Number {number}", "", ".", "..two dots"]
                lines += [os.urandom(36).hex() for _ in range(20_000)]
                message = "\r\n".join([*lines, ""]).encode()
                sent.append(message)
                assert client.sendmail("a@example.com", ["b@example.com", "c@example.com"], message) == {}
        assert [server.outcome() for _ in range(2)] == [0, 3]
    for message, received in zip(sent, mail.received, strict=True):
        assert digest(received) == digest(message.replace(b"\n.", b"\n.."))


# --- a request that ends with the end of input, and a long reply after that


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_netcat_ends_its_request_and_reads_a_long_reply(
    scheme: str, processes: Processes, need: Requirements, tmp_path: Path, authority: Authority
) -> None:
    """The server knows the request by its end; its reply comes slowly at first, then at full speed."""
    netcat = need.program("nc.openbsd", "nc")
    request, reply = os.urandom(3_000_000), os.urandom(30_000_000)

    def serve(connection: socket.socket) -> str:
        asked = digest(read_all(connection))
        for start in range(0, 5_000, 1_000):
            time.sleep(0.1)
            connection.sendall(reply[start : start + 1_000])
        connection.sendall(reply[5_000:])
        return asked

    with Backend(serve) as server:
        pair = start_pair(
            processes, tmp_path, f"tcp://127.0.0.1:{server.port}", scheme=scheme, authority=authority
        )
        for _ in range(2):
            outcome = run([netcat, "-N", "127.0.0.1", str(pair.port)], send=request, timeout=60)
            assert outcome.code == 0, outcome.errors
            assert digest(outcome.output) == digest(reply)
            assert server.outcome() == digest(request)


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_a_program_that_reads_to_the_end_before_it_answers(
    scheme: str, processes: Processes, need: Requirements, tmp_path: Path, authority: Authority
) -> None:
    """socat starts an ordinary filter for each connection: `sort` says nothing before its input has ended."""
    socat, netcat = need.program("socat"), need.program("nc.openbsd", "nc")
    port = free_port()
    server = processes.start(
        [socat, "-d", "-d", "-t", "60", f"TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork", "EXEC:sort"]
    )
    server.wait_for("listening on")
    pair = start_pair(processes, tmp_path, f"tcp://127.0.0.1:{port}", scheme=scheme, authority=authority)
    lines = [os.urandom(30).hex().encode() + b"\n" for _ in range(50_000)]
    outcome = run([netcat, "-N", "127.0.0.1", str(pair.port)], send=b"".join(lines), timeout=60)
    assert outcome.code == 0, outcome.errors
    assert digest(outcome.output) == digest(b"".join(sorted(lines)))


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
