from __future__ import annotations

import logging
from pathlib import Path

import pytest

from isthmus.errors import KeystoreError
from isthmus.security import followed
from isthmus.security.followed import Followed


def read(data: bytes) -> bytes:
    if data == b"bad":
        raise KeystoreError("it is bad")
    return data


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"one")
    path.chmod(0o600)
    return path


def test_a_change_is_taken_up_after_a_while(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock = Clock()
    file = Followed(path, "the file", read, clock=clock)
    assert file.current() == b"one"
    path.write_bytes(b"three")
    assert file.current() == b"one", "not looked at again yet"
    clock.now += followed.LOOK_SECONDS
    assert file.current() == b"three"
    assert "the file" in caplog.text
    assert file.current() is file.current()


def test_what_is_wrong_later_leaves_what_was_there(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    file = Followed(path, "the file", read, clock=clock)
    path.write_bytes(b"bad")
    for _ in range(3):
        clock.now += 2
        assert file.current() == b"one"
    assert caplog.text.count("it is bad; what was read before stays in use") == 1
    path.unlink()
    clock.now += 2
    assert file.current() == b"one"
    assert "cannot be read" in caplog.text


def test_what_is_wrong_at_first_is_an_error(path: Path, tmp_path: Path) -> None:
    with pytest.raises(KeystoreError, match="cannot be read"):
        Followed(tmp_path / "none", "the file", read)
    path.write_bytes(b"bad")
    with pytest.raises(KeystoreError, match="it is bad"):
        Followed(path, "the file", read)


def test_a_large_file_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followed, "MAXIMUM_SIZE", 2)
    with pytest.raises(KeystoreError, match="larger"):
        Followed(path, "the file", read)


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, False), (0o644, True)])
def test_a_secret_that_everybody_can_read_is_warned_about(
    path: Path, caplog: pytest.LogCaptureFixture, mode: int, warned: bool
) -> None:
    path.chmod(mode)
    Followed(path, "the file", read)
    assert ("can be read by everybody" in caplog.text) == warned
    caplog.clear()
    Followed(path, "the file", read, secret=False)
    assert caplog.text == ""
