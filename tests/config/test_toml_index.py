from __future__ import annotations

import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from isthmus.config.toml_index import Path, index
from isthmus.errors import ConfigurationError

TEXT = r'''# a comment
"ws.bind" = 80 # 3
'single' = """
[not.a.table]
""\"""" # 5 ends
list = [ # 6
  "a", # ]
  'b',
  [1,
   2], { x = 1, y.z = """
a""" },
]
[properties]
"gateway.\u0068ost" = 'it'
[[service]]
accept = [ "x", "y" ]
[service.accept-options]
"ws.bind" = 1979-05-27 07:32:00
[[service]]

inline = { a = 1, b = [1, 2] }
a . b = 2
[[service.nested]]
x = "\\"
[ security . "key store" ]
file = "x"'''


def test_lines() -> None:
    found = index("f", TEXT)
    assert found.end == len(TEXT)
    assert found.lines == {
        ("ws.bind",): 2,
        ("single",): 3,
        ("list",): 6,
        ("list", 0): 7,
        ("list", 1): 8,
        ("list", 2): 9,
        ("list", 2, 0): 9,
        ("list", 2, 1): 10,
        ("list", 3): 10,
        ("list", 3, "x"): 10,
        ("list", 3, "y", "z"): 10,
        ("properties",): 13,
        ("properties", "gateway.host"): 14,
        ("service", 0): 15,
        ("service", 0, "accept"): 16,
        ("service", 0, "accept", 0): 16,
        ("service", 0, "accept", 1): 16,
        ("service", 0, "accept-options"): 17,
        ("service", 0, "accept-options", "ws.bind"): 18,
        ("service", 1): 19,
        ("service", 1, "inline"): 21,
        ("service", 1, "inline", "a"): 21,
        ("service", 1, "inline", "b"): 21,
        ("service", 1, "inline", "b", 0): 21,
        ("service", 1, "inline", "b", 1): 21,
        ("service", 1, "a", "b"): 22,
        ("service", 1, "nested", 0): 23,
        ("service", 1, "nested", 0, "x"): 24,
        ("security", "key store"): 25,
        ("security", "key store", "file"): 26,
    }
    assert leaves(tomllib.loads(TEXT)) <= found.lines.keys()


def leaves(tree: Any, path: Path = ()) -> set[Path]:
    """Return the path of every value that is not a table or an array."""
    if isinstance(tree, dict):
        return {leaf for key, value in tree.items() for leaf in leaves(value, (*path, key))}
    if isinstance(tree, list):
        return {leaf for number, value in enumerate(tree) for leaf in leaves(value, (*path, number))}
    return {path}


SNIPPETS = [
    "a",
    "b.c",
    '"d.e"',
    "'f'",
    " = ",
    "=1",
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    ",",
    '"x"',
    "'y'",
    '"""',
    "'''",
]
SNIPPETS += [
    "\\",
    "#",
    "\n",
    "\r\n",
    " ",
    "1",
    "true",
    "1979-05-27",
    "a = 1\n",
    "[t]\n",
    "[[u]]\n",
    "k = [1, 2]\n",
]


@given(st.lists(st.sampled_from(SNIPPETS)).map("".join) | st.text())
def test_whatever_is_toml_is_found_in_it(text: str) -> None:
    """The index ends for any text, and where the text is TOML it has a line for every value."""
    try:
        found = index("f", text)
    except ConfigurationError:
        return
    assert 0 <= found.end <= len(text)
    try:
        tree = tomllib.loads(text)
    except ValueError:
        return
    assert found.end == len(text)
    assert leaves(tree) <= found.lines.keys()
