from __future__ import annotations

import dataclasses

import pytest

from isthmus.identity import ANONYMOUS, Asked, Identity


def test_an_identity_is_known_by_realm_and_subject() -> None:
    joe = Identity("demo", "joe", frozenset({"A"}))
    assert (str(joe), joe.anonymous) == ("demo/joe", False)
    assert (str(ANONYMOUS), ANONYMOUS.anonymous) == ("anonymous", True)
    with pytest.raises(dataclasses.FrozenInstanceError):
        joe.subject = "ann"  # type: ignore[misc]
    assert joe in {joe: 1}


def test_what_is_asked_with_does_not_show_its_secrets() -> None:
    asked = Asked(headers=(("authorization", "Basic secret"),), query="token=secret", certificate=b"secret")
    assert "secret" not in repr(asked)
    assert list(asked.values("Authorization")) == ["Basic secret"]
    assert list(asked.values("cookie")) == []


def test_an_identity_does_not_show_what_it_is_known_again_by() -> None:
    assert "stamp" not in repr(Identity("demo", "joe", vouchers=((0, "stamp"),)))
