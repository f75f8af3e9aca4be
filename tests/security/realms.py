"""What the tests of logins share: credentials, requests, and realms of the model."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from isthmus.config import realm as model
from isthmus.identity import Asked
from isthmus.security.login import Credentials, Entry, LoginFailed, LoginUnavailable

# Quick hashes, made with the least work their kinds allow.
HASHES = {
    "argon2": (
        "$argon2id$v=19$m=8,t=1,p=1$s6prNP1bFYwX6AfYDXkkog$jVUNJW7TjT4H7ncknH8PLG1pgirah8fv1+/Y9sR3BZY"
    ),
    "bcrypt": "$2y$04$tUF6tQmPjKdKRxACLMTlruJ9h4pvnm6iAWirmaLyW4edDhosvla9q",
    "apr1": "$apr1$SA4.aI8B$6GHhemw9cC/MYhRYXALDk.",
    "sha256": "$5$rounds=1000$W.lxTUbkk/W40PY4$JIvkHj86cEAPE55gcyJlwcz5s25iSRsTARRj/7Rr4n.",
    "sha512": (
        "$6$rounds=1000$CzDbfxQBPxm36Bhn$vpFENnk/8bYPRQwq69/gvLAkdc3Y"
        "Uhqanvb2.3ThfxdQdsRaFLNgVXHugVo/LA2IxpHdMVmZ2JKuKT9L5yg3y."
    ),
}
"""Of the password `welcome`."""


def basic(user: str, password: str, scheme: str = "Basic") -> Asked:
    encoded = base64.b64encode(f"{user}:{password}".encode()).decode()
    return Asked(headers=(("authorization", f"{scheme} {encoded}"),), client="10.0.0.7")


def bearer(token: str, scheme: str = "Bearer") -> Asked:
    return Asked(headers=(("authorization", f"{scheme} {token}"),), client="10.0.0.7")


def realm(
    *modules: tuple[str, str, dict[str, Any]],
    scheme: str = "Basic",
    name: str = "demo",
    description: str = "",
    asked: dict[str, Any] | None = None,
) -> model.Realm:
    """Return a realm with modules of (type, success, options)."""
    read = tuple(
        model.LoginModule.model_validate(
            {"type": kind, "success": success, "options": model.OPTIONS[kind].model_validate(options)}
        )
        for kind, success, options in modules
    )
    return model.Realm(
        name=name,
        description=description,
        authentication=model.Authentication.model_validate(
            {"http-challenge-scheme": scheme, "modules": read, **(asked or {})}
        ),
    )


class Module:
    """A login module whose answer the test decides: an entry, or what goes wrong."""

    def __init__(self, answer: Entry | LoginFailed | LoginUnavailable | None = None, quick: bool = True):
        self.answer = answer or LoginFailed("it is not so")
        self.quick = quick
        self.asked: list[Credentials] = []
        self.vouching = True

    def login(self, credentials: Credentials) -> Entry:
        self.asked.append(credentials)
        if isinstance(self.answer, Entry):
            return self.answer
        raise self.answer

    def vouches(self, subject: str, stamp: str) -> bool:
        return self.vouching


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return path
