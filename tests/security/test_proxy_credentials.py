"""Who we are to proxies: files, the keyring, and that nothing of it is ever said."""

from __future__ import annotations

import logging
import sys
import types
from pathlib import Path

import pytest

from isthmus.config.model import ConnectOptions
from isthmus.config.proxies import Credential, parse_proxy
from isthmus.errors import ConfigurationError
from isthmus.security import proxy_credentials
from isthmus.security.proxy_credentials import (
    LOOK_SECONDS,
    MAXIMUM_SIZE,
    CredentialsFile,
    credentials_of,
    read,
    too_open,
)

PROXY = parse_proxy("http://proxy.example.com:3128")
TEXT = 'machine proxy.example.com login alice password "open sesame"\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "credentials"
    path.write_text(TEXT)
    path.chmod(0o600)
    return path


def test_a_file(file: Path) -> None:
    file.write_text(
        TEXT
        + "machine PROXY.example.com:8080 login bob password two\n"
        + "machine [::1]:1 login carol password three\n"
        + "default login CORP\\\\dave password four\n"
    )
    found = CredentialsFile(file)
    assert found.find(PROXY) == Credential("alice", "open sesame")
    assert found.find(parse_proxy("http://proxy.example.com:8080")) == Credential("bob", "two")
    assert found.find(parse_proxy("http://[::1]:1")) == Credential("carol", "three")
    assert found.find(parse_proxy("socks://other")) == Credential("CORP\\dave", "four")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "has no credentials in it"),
        (b"machine a login alice\n", "a has no login, or no password"),
        (b"machine a password sesame\n", "a has no login, or no password"),
        (b"\nalice:sesame\n", " is not in the form of netrc"),
        (b"default login \xff password sesame\n", "is not UTF-8"),
        (b"#" * (MAXIMUM_SIZE + 1), "has 65537 bytes; credentials have at most 65536"),
    ],
)
def test_a_file_that_cannot_be_used(file: Path, text: bytes, message: str) -> None:
    file.write_bytes(text)
    with pytest.raises(ConfigurationError) as caught:
        read(file)
    assert message in str(caught.value)
    assert str(file) in str(caught.value)
    assert "sesame" not in f"{caught.value} {caught.value.hint}"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        CredentialsFile(tmp_path / "nothing")
    assert too_open(tmp_path / "nothing") == ""


def test_a_file_that_others_can_read(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert too_open(file) == ""
    file.chmod(0o640)
    assert "chmod 600" in too_open(file)
    CredentialsFile(file)
    assert "can be read by others than its owner" in caplog.text


def test_a_changed_file_is_taken_up(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    now = 0.0
    found = CredentialsFile(file, clock=lambda: now)
    file.write_text("default login bob password two\n")
    assert found.find(PROXY) == Credential("alice", "open sesame")
    now += LOOK_SECONDS
    assert found.find(PROXY) == Credential("bob", "two")
    assert "has changed and is taken up" in caplog.text
    file.write_text("nonsense sesame\n")
    now += LOOK_SECONDS
    assert found.find(PROXY) == Credential("bob", "two")
    assert "what was read before stays in use" in caplog.text
    file.unlink()
    now += LOOK_SECONDS
    assert found.find(PROXY) == Credential("bob", "two")
    assert "sesame" not in caplog.text


def test_what_the_options_name(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = parse_proxy("http://eve:six@other:1", may_have_password=True)
    by_file = credentials_of(ConnectOptions(proxy_credentials_file=Path(file.name)), file.parent)
    assert by_file(PROXY) == Credential("alice", "open sesame")
    assert by_file(own) == Credential("eve", "six")
    nothing = credentials_of(ConnectOptions(), file.parent)
    assert nothing(PROXY) is None
    assert nothing(own) == Credential("eve", "six")
    monkeypatch.setattr(proxy_credentials, "from_keyring", lambda entry: Credential(entry, "seven"))
    by_keyring = credentials_of(ConnectOptions(proxy_credentials_keyring="a@b"), file.parent)
    assert by_keyring(PROXY) == Credential("a@b", "seven")


class Keyring:
    """Stands for the package keyring."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.entries: dict[tuple[str, str], str] = {}
        self.error: Exception | None = None
        package, errors = types.ModuleType("keyring"), types.ModuleType("keyring.errors")
        package.get_password = self.get_password  # type: ignore[attr-defined]
        errors.KeyringError = KeyError  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "keyring", package)
        monkeypatch.setitem(sys.modules, "keyring.errors", errors)

    def get_password(self, service: str, user: str) -> str | None:
        if self.error is not None:
            raise self.error
        return self.entries.get((service, user))


def test_the_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    keyring = Keyring(monkeypatch)
    keyring.entries["proxy.example.com", "alice@corp"] = "sesame"
    found = proxy_credentials.from_keyring("alice@corp@proxy.example.com")
    assert found == Credential("alice@corp", "sesame")
    with pytest.raises(ConfigurationError, match="the keyring has no password for bob@p") as caught:
        proxy_credentials.from_keyring("bob@p")
    assert caught.value.hint == "keyring set p bob"
    keyring.error = RuntimeError("locked\nmore")
    with pytest.raises(ConfigurationError, match=r"the keyring cannot be read for bob@p: locked$"):
        proxy_credentials.from_keyring("bob@p")


def test_there_is_no_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(ConfigurationError, match="needs the package keyring") as caught:
        proxy_credentials.from_keyring("bob@p")
    assert "isthmus[keyring]" in caught.value.hint
