from __future__ import annotations

import base64
import logging
from pathlib import Path

import pytest

from isthmus.config.model import ConnectOptions
from isthmus.errors import KeystoreError
from isthmus.transports.credentials import field_of, fields_of, hint_for
from isthmus.websocket.handshake import HandshakeError


def basic(text: str) -> str:
    return f"Basic {base64.b64encode(text.encode()).decode()}"


@pytest.mark.parametrize(
    ("data", "scheme", "value"),
    [
        (b"abc.def-g\n", "auto", "Bearer abc.def-g"),
        (b"joe:welcome\r\n", "auto", basic("joe:welcome")),
        ("jörg:p:w ".encode(), "auto", basic("jörg:p:w ")),
        (b"\xef\xbb\xbfabc", "auto", "Bearer abc"),
        (b" abc ", "bearer", "Bearer abc"),
        (b"a:b", "bearer", "Bearer a:b"),
        (b"abc", "token", "Token abc"),
        (b"joe:", "basic", basic("joe:")),
    ],
)
def test_a_file_becomes_a_field(data: bytes, scheme: str, value: str) -> None:
    assert field_of(data, scheme) == (("Authorization", value),)


@pytest.mark.parametrize(
    ("data", "scheme"),
    [
        (b"", "auto"),
        (b"\n", "auto"),
        (b"s3cret\ns3cret", "auto"),
        (b"s3cret", "basic"),
        (b"s3 cret", "bearer"),
        ("s3crét".encode(), "bearer"),
        (b"s3\0cret", "bearer"),
        (b"\xff", "auto"),
        (b"x" * 20_000, "auto"),
    ],
)
def test_what_cannot_be_one_is_refused_and_not_quoted(data: bytes, scheme: str) -> None:
    with pytest.raises(KeystoreError) as caught:
        field_of(data, scheme)
    assert "cret" not in str(caught.value)


def test_a_changed_file_is_taken_up_by_the_next_handshake(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    file = tmp_path / "token"
    file.write_text("one")
    file.chmod(0o600)
    options = ConnectOptions(authorization_file=file)
    fields = fields_of(options)
    assert fields() == (("Authorization", "Bearer one"),)
    file.write_text("second")
    assert fields() == (("Authorization", "Bearer second"),)
    assert fields_of(options)() == fields(), "connects to the same server share the file"
    file.write_text("not usable")
    assert fields() == (("Authorization", "Bearer second"),)
    assert "has blanks" in caplog.text
    assert "second" not in caplog.text
    with pytest.raises(KeystoreError, match="cannot be read"):
        fields_of(ConnectOptions(authorization_file=tmp_path / "none"))


def test_without_a_file_nothing_is_shown() -> None:
    assert fields_of(ConnectOptions())() == ()


@pytest.mark.parametrize(
    ("error", "presented", "hint"),
    [
        (
            HandshakeError(401, "x", (("www-authenticate", 'Basic realm="a\x1bb"'),)),
            False,
            (
                'it asks for Basic realm="a?b"; put a token or user:password into a file and name it in '
                "http.authorization.file"
            ),
        ),
        (HandshakeError(401, "x"), True, "what connect-options http.authorization.file holds is not taken"),
        (HandshakeError(403, "x"), True, "it knows who this is, and does not allow it"),
        (HandshakeError(403, "x"), False, "it does not let everybody in"),
        (HandshakeError(404, "x"), False, ""),
        (OSError(), False, ""),
        (None, False, ""),
    ],
)
def test_what_to_do_about_a_refusal(error: Exception | None, presented: bool, hint: str) -> None:
    assert hint_for(error, presented) == hint


def test_a_challenge_is_cut() -> None:
    assert len(hint_for(HandshakeError(401, "x", (("www-authenticate", "x" * 10_000),)), True)) < 400
