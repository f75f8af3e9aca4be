"""`security/realm` of a document -> the realms of the model, with their login modules in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isthmus.config.document import Node
from isthmus.config.realm import OPTIONS, Authentication, LoginModule, Realm
from isthmus.config.units import shown
from isthmus.config.unsupported import VALUES

if TYPE_CHECKING:
    from isthmus.config.build import Builder

Key = tuple[str | int, ...]
KNOWN = ", ".join(OPTIONS)


def read_realms(builder: Builder, nodes: list[Node]) -> tuple[Realm, ...]:
    """Read the realms; those that are wrong are left out, and what is wrong is a problem of the document."""
    realms = (_realm(builder, node, ("security", "realm", index)) for index, node in enumerate(nodes))
    return tuple(realm for realm in realms if realm is not None)


def _realm(builder: Builder, node: Node, key: Key) -> Realm | None:
    builder.lines[key] = node.line
    problems = len(builder.document.problems)
    parts = _take(node, "authentication")
    if not parts:
        builder.document.wrong(node, "<authentication> is missing", "how its clients log in")
        return None
    authentication = parts[0]
    lists = _take(authentication, "login-modules")
    modules: list[LoginModule] = []
    for each in lists:
        for name, found in builder.children(each, "login-modules", ("login-module",)).items():
            for place, below in enumerate(found):
                module = _module(builder, below, (*key, name, place))
                if module is not None:
                    modules.append(module)
    if len(builder.document.problems) == problems and not modules:
        builder.document.wrong(authentication, "there is no login-module", f"one or more, of type {KNOWN}")
    inside = {"modules": tuple(modules)}
    asked = builder.section(
        Authentication, authentication, "authentication", (*key, "authentication"), inside
    )[0]
    realm = builder.section(Realm, node, "realm", key, {"authentication": asked})[0]
    return realm if len(builder.document.problems) == problems else None


def _module(builder: Builder, node: Node, key: Key) -> LoginModule | None:
    builder.lines[key] = node.line
    options = _take(node, "options")
    kinds = [child for child in node.children if child.name == "type"]
    kind = builder.text(kinds, (*key, "type"))
    if not kind:
        builder.document.wrong(node, "<type> is missing", KNOWN)
        return None
    model = OPTIONS.get(kind)
    if model is None:
        reason = VALUES["login-module type"].get("class:" if kind.startswith("class:") else kind)
        if reason is not None:
            builder.document.wrong(kinds[0], f"the login module {kind} cannot be used: {reason}", KNOWN)
        else:
            near = builder.document.nearest(kind, OPTIONS)
            builder.document.wrong(kinds[0], f"unknown login module {shown(kind)}", KNOWN, near)
        return None
    problems = len(builder.document.problems)
    own = options[0] if options else Node("options", node.line, f"{node.path}/options")
    read = builder.section(model, own, f"the options of {kind}", (*key, "options"))[0]
    module = builder.section(LoginModule, node, "login-module", key, {"options": read})[0]
    return module if len(builder.document.problems) == problems else None


def _take(node: Node, name: str) -> list[Node]:
    """Take the children called `name` out of `node`: they are read by themselves."""
    found = [child for child in node.children if child.name == name]
    node.children = [child for child in node.children if child.name != name]
    return found
