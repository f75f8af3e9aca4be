"""Words of a form of their own: what is one, and what is said of what is not."""

from __future__ import annotations

import base64

import pytest

from isthmus.config import words
from isthmus.config.units import NotAllowed

PIN = f"sha256/{base64.b64encode(bytes(range(32))).decode()}"


def test_pins() -> None:
    assert words.pins((PIN, PIN)) == (PIN, PIN)


@pytest.mark.parametrize(
    "wrong", ["", PIN[7:], PIN[:-1], PIN.upper(), PIN.replace("sha256", "sha1"), f"{PIN}=", f"{PIN}\n"]
)
def test_what_is_no_pin(wrong: str) -> None:
    with pytest.raises(NotAllowed) as told:
        words.pins((PIN, wrong))
    assert "isthmus seal" in told.value.allowed


def test_origins() -> None:
    assert words.origins(("*", "null", "https://a.example:8443")) == ("*", "null", "https://a.example:8443")
    for wrong in ((), ("a.example",), ("https://a/b",)):
        with pytest.raises(NotAllowed):
            words.origins(wrong)


def test_words_of_http() -> None:
    assert words.tokens(("GET", "X-One")) == ("GET", "X-One")
    with pytest.raises(NotAllowed):
        words.tokens(("A B",))


def test_extensions_and_their_types() -> None:
    assert words.extension("CSS") == "css"
    assert words.mime_type('text/html; charset="utf-8"') == 'text/html; charset="utf-8"'
    for wrong in (".css", "a/b", ""):
        with pytest.raises(NotAllowed):
            words.extension(wrong)
    with pytest.raises(NotAllowed):
        words.mime_type("text")


def test_entries_of_a_keyring() -> None:
    assert words.keyring("alice@mail.example@proxy") == "alice@mail.example@proxy"
    for wrong in ("alice", "@proxy", "alice@"):
        with pytest.raises(NotAllowed):
            words.keyring(wrong)


def test_interfaces() -> None:
    assert words.interface("br-lan") == "br-lan"
    for wrong in ("", "a b", 7):
        with pytest.raises(NotAllowed):
            words.interface(wrong)
