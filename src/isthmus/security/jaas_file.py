"""Kaazing's jaas-config.xml: users with their passwords and roles, and roles that bring other roles.

Any namespace is taken (Kaazing has three). As in `config.xml`, a DOCTYPE and entities are refused.
"""

from __future__ import annotations

import logging
from pathlib import Path

from lxml import etree

from isthmus.errors import KeystoreError
from isthmus.security import passwords
from isthmus.security.login import LoginFailed, checked_name
from isthmus.security.password_file import User

log = logging.getLogger(__name__)

MAXIMUM_ELEMENTS = 500_000


def parse_jaas(text: str, path: Path) -> dict[str, User]:
    """Return the users of a jaas-config.xml by name. Raises `KeystoreError` that names the file and line."""
    if "<!DOCTYPE" in text.upper() or "<!ENTITY" in text.upper():
        raise KeystoreError(f"{path}: a DOCTYPE is not allowed")
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True)
    try:
        root = etree.fromstring(text.encode("utf-8"), parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        line = getattr(error, "lineno", 0) or 0
        # The parser's own words may quote a password.
        raise KeystoreError(f"{path}:{line}: it is not well-formed XML") from None
    if _name(root) != "jaas-config":
        raise KeystoreError(f"{path}: it is no jaas-config.xml: its outermost element is another one")
    roles: dict[str, list[str]] = {}
    found: list[tuple[etree._Element, dict[str, list[str]]]] = []
    for element in root:
        parts: dict[str, list[str]] = {}
        for below in element:
            parts.setdefault(_name(below), []).append((below.text or "").strip())
        if _name(element) == "role":
            roles[_one(element, parts, "name", path)] = parts.get("role-name", [])
        elif _name(element) == "user":
            found.append((element, parts))
        else:
            raise KeystoreError(f"{path}:{element.sourceline}: <{_name(element)[:80]}> is not known here")
    users: dict[str, User] = {}
    for element, parts in found:
        user = _user(element, parts, roles, path)
        if user.name in users:
            raise KeystoreError(f"{path}:{element.sourceline}: the user {user.name} is there twice")
        users[user.name] = user
    plain = sum(user.plain for user in users.values())
    if plain:
        log.warning(
            "%s holds %d passwords in plain text: whoever reads it has them; put hashes in their place, or "
            "make a password file: isthmus password FILE USER",
            path,
            plain,
        )
    return users


def _user(
    element: etree._Element, parts: dict[str, list[str]], roles: dict[str, list[str]], path: Path
) -> User:
    place = f"{path}:{element.sourceline}"
    name = _one(element, parts, "name", path)
    secret = _one(element, parts, "password", path)
    try:
        checked_name(name)
    except LoginFailed as error:
        raise KeystoreError(f"{place}: {error}") from error
    granted: set[str] = set()
    pending = list(parts.get("role-name", []))
    while pending:
        role = pending.pop()
        if role not in roles:
            raise KeystoreError(f"{place}: the user {name} has the role {role[:80]}, which is not defined")
        if role not in granted:
            granted.add(role)
            pending += roles[role]
    try:
        passwords.kind_of(secret)
        plain = False
    except KeystoreError:
        plain = True
    return User(name, secret, frozenset(granted), plain)


def _one(element: etree._Element, parts: dict[str, list[str]], name: str, path: Path) -> str:
    values = parts.get(name, [])
    if len(values) != 1 or not values[0]:
        raise KeystoreError(f"{path}:{element.sourceline}: <{_name(element)[:80]}> has one <{name}>")
    return values[0]


def _name(element: etree._Element) -> str:
    return str(element.tag).rpartition("}")[2]
