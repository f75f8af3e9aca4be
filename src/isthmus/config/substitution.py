"""`${name}` in values: from `properties`, or from the command line (`--set name=value`), which wins.

A property's value may use other properties. What comes out is bounded: no circle, no long chain, no value
longer than `document.MAXIMUM_VALUE`, so that a few lines cannot grow into gigabytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from isthmus.config.document import MAXIMUM_VALUE, Document, Node
from isthmus.config.units import NotAllowed, shown
from isthmus.errors import Problem

MAXIMUM_CHAIN = 16
"""Properties that use each other in a row."""

_REFERENCE = re.compile(r"\$\{([^{}]*)(\}?)")
# What could move a terminal's cursor, or turn the order of what it shows.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def substitute(document: Document, settings: Mapping[str, str]) -> list[Problem]:
    """Replace `${}` in every value of `document`. What cannot be replaced is a problem and becomes None.

    Returns warnings: properties and settings that nothing uses.
    """
    written = _written(document)
    texts = {name: _text(node.value) for name, node in written.items()}
    properties = Properties(texts, settings)
    nodes = [node for node in reversed(document.root.children) if node.name != "properties"]
    while nodes:
        node = nodes.pop()
        nodes += reversed(node.children)
        try:
            if isinstance(node.value, list):
                node.value = [
                    properties.replace(each) if isinstance(each, str) else each for each in node.value
                ]
            elif isinstance(node.value, str):
                node.value = properties.replace(node.value)
        except Undefined as error:
            document.wrong(node, str(error), error.allowed, document.nearest(error.name, properties.names))
            node.value = None
        except NotAllowed as error:
            document.wrong(node, str(error), error.allowed)
            node.value = None
    warnings: list[Problem] = []
    for name in sorted(settings.keys() - properties.used):
        what = f"--set {name} has no effect: nothing in the file uses ${{{name}}}"
        near = document.nearest(name, properties.used)
        warnings.append(Problem(document.file, 0, "", what, nearest=near))
    for name, node in written.items():
        if name not in properties.used:
            what = f"the property {shown(name)} is not used"
            warnings.append(Problem(document.file, node.line, node.path, what))
    return warnings


def _written(document: Document) -> dict[str, Node]:
    """Return the properties of the file by name."""
    found: dict[str, Node] = {}
    for section in document.root.children:
        if section.name == "properties" and section.value not in (None, ""):
            document.wrong(
                section, f"{shown(section.value)} stands where properties are expected", "name = value"
            )
        for node in section.children if section.name == "properties" else ():
            if node.name in found:
                other = found[node.name].line
                document.wrong(
                    node, f"the property {shown(node.name)} is defined twice", f"once (line {other})"
                )
            elif node.value is None or isinstance(node.value, list):
                what = f"the property {shown(node.name)} has no single value"
                document.wrong(node, what, "a text or a number")
            else:
                found[node.name] = node
    return found


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class Undefined(NotAllowed):
    """A `${name}` that stands for nothing."""

    def __init__(self, name: str, allowed: str) -> None:
        super().__init__(f"{shown(f'${{{name}}}')[1:-1]} is not defined", allowed)
        self.name = name


class Properties:
    """The names a file may use, and which of them it did use (`used`)."""

    def __init__(self, written: Mapping[str, str], settings: Mapping[str, str]) -> None:
        self._raw = dict(written)
        self._settings = dict(settings)
        self._resolved: dict[str, str] = {}
        self.used: set[str] = set()
        self.names = sorted(self._raw.keys() | self._settings.keys())
        listed = ", ".join(shown(name)[1:-1] for name in self.names[:10]) or "there are no properties"
        self._allowed = f"a name from <properties> or --set: {listed}"

    def replace(self, text: str, chain: tuple[str, ...] = ()) -> str:
        """Return `text` with every `${name}` replaced. Raises `NotAllowed`."""
        pieces: list[str] = []
        length = position = 0
        for match in _REFERENCE.finditer(text):
            if not match[2]:
                raise NotAllowed(
                    f"{shown(text[match.start() : match.start() + 40])} has no closing brace", "${name}"
                )
            for piece in (text[position : match.start()], self._value(match[1].strip(), chain)):
                pieces.append(piece)
                length += len(piece)
            position = match.end()
            if length > MAXIMUM_VALUE:
                break
        if length + len(text) - position > MAXIMUM_VALUE:
            raise NotAllowed("the value is too long", f"at most {MAXIMUM_VALUE} characters")
        value = "".join((*pieces, text[position:]))
        if _CONTROL.search(value):
            raise NotAllowed(f"{shown(value)} has a control character", "printable characters")
        return value

    def _value(self, name: str, chain: tuple[str, ...]) -> str:
        self.used.add(name)
        if name in self._settings:
            return self._settings[name]
        if name in self._resolved:
            return self._resolved[name]
        if name not in self._raw:
            raise Undefined(name, self._allowed)
        if name in chain:
            raise NotAllowed(
                f"the property {shown(name)} uses itself: {' -> '.join(map(shown, (*chain, name)))}"
            )
        if len(chain) >= MAXIMUM_CHAIN:
            what = f"the property {shown(name)} uses properties in too long a chain"
            raise NotAllowed(what, f"at most {MAXIMUM_CHAIN}")
        self._resolved[name] = self.replace(self._raw[name], (*chain, name))
        return self._resolved[name]
