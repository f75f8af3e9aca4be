"""The shape of the house: which part may import which, where tests lie, how large a file may be."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "isthmus"
SOURCES = sorted(PACKAGE.rglob("*.py"))
MAXIMUM_LINES = 550

# Arrows point one way: each layer may import itself and what stands before it (design, section 2).
LAYERS: list[tuple[str, ...]] = [
    ("errors", "identity", "uri", "access", "__init__"),
    ("config",),
    ("websocket",),
    ("wse",),
    ("span",),
    ("security",),
    ("transports",),
    ("services",),
    ("accepts",),
    ("gateway",),
    ("console", "log_lines", "log_writer", "home", "certificates", "credentials", "logins", "doctor"),
    ("cli_options", "installation"),
    ("cli", "__main__"),
]

# Below the layers: parts that may import less than their layer may.
ONLY: dict[str, tuple[str, ...]] = {
    "uri": ("errors",),
    "errors": (),
    "config": ("config", "errors", "uri"),
    "websocket": ("websocket", "errors"),
    "wse": ("wse", "websocket", "errors"),
    "span": ("span", "websocket", "errors"),
    "security": ("security", "errors", "identity", "uri", "config.model", "config.proxies", "config.realm"),
    "identity": (),
    "home": ("errors",),
}

# Sources without a mirrored test file, and why.
WITHOUT_TESTS: dict[str, str] = {
    "__main__.py": "two lines, run by every system test",
    "config/__init__.py": "`load` is how the tests of config read their files",
    "services/__init__.py": "the table of services, each of which test_gateway makes",
    "services/base.py": "protocols only",
    "transports/_heap.pyx": "the compiled part of heap.py",
    "transports/wse/dial.py": "the dial of fallback.py where a WebSocket is blocked: test_fallback.py",
    "transports/negotiation.py": "a protocol and its error only",
    "transports/tls_socket.py": "one of the two kinds of TLS that test_tls.py tests",
    "transports/_datagram_socket.pyx": "the compiled twin of datagram_socket.py",
    "transports/_epoll.pyx": "the compiled twin of epoll.py",
    "transports/_stream_socket.pyx": "the compiled twin of stream_socket.py",
    "websocket/_mask.pyx": "the compiled twin of mask.py",
}


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def imports_of(path: Path) -> set[str]:
    """Return the modules of isthmus that a file imports, also those only for annotations."""
    found: set[str] = set()
    nodes: list[ast.AST] = [ast.parse(path.read_text())]
    while nodes:
        node = nodes.pop()
        nodes += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import hides which part it is"
            found |= {_module(str(node.module), each.name) for each in node.names}
    return {each.removeprefix("isthmus.") for each in found if each.startswith("isthmus.")}


def _module(module: str, name: str) -> str:
    """Return the module that `from module import name` is about."""
    below = PACKAGE.joinpath(*module.split(".")[1:], name)
    is_module = below.with_suffix(".py").exists() or (below / "__init__.py").exists()
    return f"{module}.{name}" if is_module or module == "isthmus" else module


def layer_of(module: str) -> int:
    top = module.partition(".")[0]
    return next((place for place, names in enumerate(LAYERS) if top in names), -1)


def is_in(module: str, part: str) -> bool:
    return module == part or module.startswith(part + ".")


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_arrows_point_one_way(path: Path) -> None:
    module = name_of(path)
    place = layer_of(module)
    assert place >= 0, f"{module} stands in no layer: add it to LAYERS"
    for imported in imports_of(path):
        if imported == "__version__":
            continue
        assert layer_of(imported) <= place, f"{module} imports {imported}, which stands above it"
        for part, allowed in ONLY.items():
            if is_in(module, part):
                assert any(is_in(imported, each) for each in allowed), f"{module} may not import {imported}"


@pytest.mark.parametrize("path", sorted((PACKAGE / "services").rglob("*.py")), ids=name_of)
def test_services_know_no_concrete_transport(path: Path) -> None:
    transports = {each for each in imports_of(path) if is_in(each, "transports")}
    assert transports <= {"transports.base", "transports.datagrams"}


def test_the_path_of_a_byte_knows_no_http_library() -> None:
    """aiohttp takes long to import: only a configuration with HTTP pays."""
    for path in SOURCES:
        if name_of(path) == "transports.http":
            continue
        for node in ast.parse(path.read_text()).body:
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split(".")[0] == "aiohttp" for name in names), path


@pytest.mark.parametrize("path", [*SOURCES, *sorted(PACKAGE.rglob("*.pyx"))], ids=str)
def test_each_source_has_its_tests(path: Path) -> None:
    relative = path.relative_to(PACKAGE)
    if path.name == "__init__.py" and str(relative) not in WITHOUT_TESTS:
        parent = relative.parent.name
        if not parent or not any(
            isinstance(node, ast.FunctionDef) for node in ast.parse(path.read_text()).body
        ):
            return  # names and texts only
        mirrored = ROOT / "tests" / relative.parent.parent / f"test_{parent}.py"
    else:
        mirrored = ROOT / "tests" / relative.parent / f"test_{path.stem}.py"
    assert mirrored.exists() != (str(relative) in WITHOUT_TESTS), f"{relative}: {mirrored.relative_to(ROOT)}"


def test_what_has_no_tests_exists() -> None:
    assert all((PACKAGE / name).exists() for name in WITHOUT_TESTS)


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_sources_are_ordinary_python(path: Path) -> None:
    """C types stand in the `.pxd` beside a source; the source itself must run without Cython."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
        names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
        assert not any(name.split(".")[0].lower() == "cython" for name in names)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.pxd")), ids=lambda path: path.stem)
def test_each_pxd_has_its_source(path: Path) -> None:
    """A leaf of inline functions has none but its plain twin."""
    sources = path.with_suffix(".py"), path.with_suffix(".pyx"), path.with_name(f"{path.stem[1:]}.py")
    assert any(source.exists() for source in sources)


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_file_is_one_concept(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= MAXIMUM_LINES, f"{path.name} has {lines} lines: look for the second concept in it"


def attributes_of(declaration: Path) -> dict[str, set[str]]:
    """Return the attributes that each class of a `.pxd` declares."""
    found: dict[str, set[str]] = {}
    own: set[str] = set()
    for line in declaration.read_text().splitlines():
        if made := re.match(r"cdef class (\w+).*:$", line):
            own = found.setdefault(made[1], set())
        elif (attribute := re.match(r" +cdef (?!inline)[^()]* (\w+)$", line)) and "(" not in line:
            own.add(attribute[1])
    return found


def slots_of(source: Path) -> dict[str, set[str]]:
    """Return the slots of each class of a `.py` that has some."""
    found = {}
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.ClassDef):
            for statement in node.body:
                if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__slots__":
                    found[node.name] = set(ast.literal_eval(statement.value))
    return found


@pytest.mark.parametrize("declaration", sorted(PACKAGE.rglob("*.pxd")), ids=lambda path: path.stem)
def test_a_class_has_the_same_attributes_compiled_and_not(declaration: Path) -> None:
    """One that only one side knows fails where the other runs, and only when it is used."""
    slots = slots_of(declaration.with_suffix(".py")) if declaration.with_suffix(".py").exists() else {}
    declared = attributes_of(declaration)
    for name in declared.keys() & slots.keys():
        assert declared[name] == slots[name] - {"__weakref__", "__dict__"}, name
