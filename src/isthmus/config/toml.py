"""The native form: TOML -> `Document`, and the model -> TOML.

`[[service]]` mirrors XML's `service`; an option's dotted name is a quoted key. `[gateway]` is
`gateway-options`,
`[properties]` holds what `${name}` stands for.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from isthmus import uri
from isthmus.config.document import Document, Node, Scalar, refuse
from isthmus.config.model import Bind, DirectoryProperties, Keystore, Section, Service, nested, options_of
from isthmus.config.realm import Realm
from isthmus.config.toml_index import Path as KeyPath
from isthmus.config.toml_index import index
from isthmus.config.units import printable, shown

if TYPE_CHECKING:
    from isthmus.config import Loaded

_GATEWAY = "gateway"
_LISTED = ("accept", "connect")
_OPTION_TABLES = ("properties", "accept-options", "connect-options", _GATEWAY)
_LARGEST = 2**63


def read(file: str, text: str) -> Document:
    """Read the text of a file. Raises `ConfigurationError` where it is not TOML."""
    places = index(file, text)
    # Beyond what the index understood nothing has been held against the limits: the parser stops there, too.
    complete = places.end >= len(text)
    end = len(text) if complete else (text.find("\n", places.end) + 1 or len(text))
    try:
        tree = tomllib.loads(text[:end])
    except tomllib.TOMLDecodeError as error:
        reason, line = _reason(str(error), text[:end])
        raise refuse(file, line, f"is not valid TOML: {reason}") from error
    except (
        ValueError
    ) as error:  # a number of thousands of digits; the int reader's own words are for programmers
        raise refuse(file, 0, "is not valid TOML: a number is too long") from error
    except RecursionError as error:
        raise refuse(file, 0, "is not valid TOML: tables or arrays are nested too deeply") from error
    if not complete:
        raise refuse(file, text.count("\n", 0, places.end) + 1, "is not valid TOML from here on")
    document = Document(file, Node("gateway-config", 1, ""))
    reader = _Reader(document, places.lines)
    for name, value in tree.items():
        known_as = "gateway-options" if name == _GATEWAY else name
        document.root.children += reader.nodes(known_as, printable(name), value, (name,))
    return document


def _reason(message: str, text: str) -> tuple[str, int]:
    match = re.fullmatch(
        r"(?P<reason>.*) \(at (?:line (?P<line>\d+), column \d+|end of document)\)", message, re.S
    )
    if match is None:
        return message, 0
    return match["reason"], int(match["line"]) if match["line"] else text.rstrip().count("\n") + 1


class _Reader:
    def __init__(self, document: Document, lines: dict[KeyPath, int]) -> None:
        self._document = document
        self._lines = lines

    def nodes(self, name: str, path: str, value: Any, key: KeyPath) -> Iterator[Node]:
        """Yield the node for a key; several where an array stands for elements of one name."""
        node = Node(name, self._line(key), path)
        if isinstance(value, dict):
            for child, below in value.items():
                child_path = f"{path}/{printable(child)}"
                if isinstance(below, dict) and key[-1] in _OPTION_TABLES:
                    self._unquoted(child, below, (*key, child), path)
                else:
                    node.children += self.nodes(child, child_path, below, (*key, child))
            yield node
        elif isinstance(value, list) and (name in _LISTED or any(isinstance(item, dict) for item in value)):
            for number, item in enumerate(value):
                if isinstance(item, list):
                    self._document.wrong(node, "an array inside an array", "an array of texts")
                else:
                    yield from self.nodes(name, path, item, (*key, number))
        else:
            items = value if isinstance(value, list) else [value]
            if all(self._scalar(node, item) for item in items):
                node.value = value
            yield node

    def _scalar(self, node: Node, value: object) -> bool:
        """Tell whether `value` can be a value here; object where it cannot."""
        if not isinstance(value, Scalar):
            self._document.wrong(
                node, f"{shown(str(value))} is neither a text nor a number", "a text or a number"
            )
        elif isinstance(value, int) and not -_LARGEST <= value < _LARGEST:
            self._document.wrong(node, "the number is out of range", "a number of at most 64 bits")
        else:
            return True
        return False

    def _unquoted(self, name: str, table: dict[str, Any], key: KeyPath, path: str) -> None:
        """Object to `ws.bind = 80`, which TOML reads as a table `ws` with a key `bind`."""
        while len(table) == 1:
            below, value = next(iter(table.items()))
            name, key = f"{name}.{below}", (*key, below)
            if not isinstance(value, dict):
                break
            table = value
        node = Node(name, self._line(key), f"{path}/{printable(name)}")
        self._document.wrong(node, f"the key {printable(name)} needs quotes", f'"{printable(name)}" = ...')

    def _line(self, key: KeyPath) -> int:
        while key and key not in self._lines:
            key = key[:-1]
        return self._lines.get(key, 0)


# -- writing --


def dumps(loaded: Loaded, directory: Path | None = None) -> str:
    """Return `loaded` as TOML: `${}` replaced, `service-defaults` merged; what is at its default is left out.

    Reading it back gives an equal model. Keystore files stay relative to the folder of the configuration
    file, so keep the result beside the original; for another folder pass it as `directory`, and they are
    rewritten.
    """
    config = loaded.config
    lines = [
        f"# Written from {printable(loaded.path.name)} by isthmus convert.",
        "# ${} is replaced and service-defaults are merged into the services; defaults are left out.",
    ]
    if config.security.keystore or config.security.truststore:
        lines.append("# The files of keystores are relative to the folder this file is in.")
    if config.security.realms:
        lines.append("# The files of realms are relative to the folder this file is in.")
    writer = _Writer(lines)
    writer.table("[gateway]", config.options)
    for name in ("keystore", "truststore"):
        store: Keystore | None = getattr(config.security, name)
        if store is not None:
            writer.table(f"[security.{name}]", _moved(store, loaded.directory, directory))
    for realm in config.security.realms:
        writer.realm(realm, lambda section: _moved(section, loaded.directory, directory))
    for service in config.services:
        options = _moved(service.connect_options, loaded.directory, directory)
        writer.service(service.model_copy(update={"connect_options": options}))
    if writer.escaped:
        # A text that holds ${ as it is must not be taken for a reference when it is read again.
        lines += ["", "[properties]", 'dollar = "$"']
    return "\n".join(lines) + "\n"


AnySection = TypeVar("AnySection", bound=Section)


def _moved(section: AnySection, origin: Path, target: Path | None) -> AnySection:
    if target is None or target.resolve() == origin.resolve():
        return section
    found = {name: getattr(section, name) for name in type(section).model_fields}
    moved = {
        name: Path(os.path.relpath((origin / path).resolve(), target.resolve()))
        for name, path in found.items()
        if isinstance(path, Path) and not path.is_absolute()
    }
    return section.model_copy(update=moved)


class _Writer:
    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self.escaped = False

    def table(self, header: str, section: Section) -> None:
        """Write what `section` holds other than its defaults; nothing where that is nothing."""
        repeated = nested(type(section))
        options = [
            option for option in options_of(section) if not option.is_default and option.name not in repeated
        ]
        if options:
            self.lines += ["", header]
        for option in options:
            self.lines.append(f"{self._key(option.name)} = {self._value(option.value)}")

    def service(self, service: Service) -> None:
        self.lines += [
            "",
            "[[service]]",
            f"name = {self._value(service.name)}",
            f"type = {self._value(service.type)}",
        ]
        if service.description:
            self.lines.append(f"description = {self._value(service.description)}")
        for name, addresses in (("accept", service.accepts), ("connect", service.connects)):
            texts = [uri.unparse(address) for address in addresses]
            if texts:
                self.lines.append(f"{name} = {self._value(texts[0] if len(texts) == 1 else texts)}")
        if service.realm_name:
            self.lines.append(f"realm-name = {self._value(service.realm_name)}")
        self.table("[service.properties]", service.properties)
        if isinstance(service.properties, DirectoryProperties):
            for location in service.properties.locations:
                self.table("[[service.properties.location]]", location)
        for mapping in service.mime_mappings:
            self.table("[[service.mime-mapping]]", mapping)
        self.table("[service.accept-options]", service.accept_options)
        self.table("[service.connect-options]", service.connect_options)
        for required in service.authorization:
            self.table("[[service.authorization-constraint]]", required)
        for constraint in service.cross_site:
            self.table("[[service.cross-site-constraint]]", constraint)

    def realm(self, realm: Realm, moved: Callable[[Section], Section]) -> None:
        self._options("[[security.realm]]", realm, ("authentication",))
        self._options("[security.realm.authentication]", realm.authentication, ("login-modules",))
        for module in realm.modules:
            header = "security.realm.authentication.login-modules.login-module"
            self._options(f"[[{header}]]", module, ("options",))
            self._options(f"[{header}.options]", moved(module.options), ())

    def _options(self, header: str, section: Section, left: tuple[str, ...]) -> None:
        options = [each for each in options_of(section) if not each.is_default and each.name not in left]
        self.lines += ["", header]
        self.lines += [f"{self._key(option.name)} = {self._value(option.value)}" for option in options]

    def _key(self, name: str) -> str:
        return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else self._value(name)

    def _value(self, value: object) -> str:
        if isinstance(value, (list, tuple)):
            return f"[{', '.join(self._value(item) for item in value)}]"
        if isinstance(value, Bind):
            return str(value.port) if value.host == "0.0.0.0" else self._value(str(value))
        if isinstance(value, (bool, int, float)):
            return repr(value).lower()
        text = str(value)
        if "${" in text:
            self.escaped = True
            text = text.replace("${", "${dollar}{")
        return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
