from __future__ import annotations

import pytest

from isthmus import errors
from isthmus.errors import ConfigurationError, ConnectError, IsthmusError, Problem


@pytest.mark.parametrize(
    ("problem", "block"),
    [
        (Problem("f.xml", 0, "", "is wrong"), "f.xml: is wrong"),
        (Problem("f.xml", 3, "", "is wrong"), "f.xml:3: is wrong"),
        (Problem("f.xml", 0, "a/b", "is wrong"), "f.xml: <a/b>: is wrong"),
        (
            Problem("f.xml", 3, "a/b", "is wrong", "right", "rigth"),
            "f.xml:3: <a/b>: is wrong\n    allowed: right\n    did you mean: rigth",
        ),
        (
            Problem("f.xml", 3, "a/b", "is wrong", nearest="right"),
            "f.xml:3: <a/b>: is wrong\n    did you mean: right",
        ),
    ],
)
def test_a_problem_is_one_block(problem: Problem, block: str) -> None:
    assert str(problem) == block


def test_an_error_keeps_its_hint() -> None:
    error = IsthmusError("it failed", hint="do that")
    assert (str(error), error.hint) == ("it failed", "do that")
    assert IsthmusError("it failed").hint == ""


def test_a_configuration_error_keeps_its_problems() -> None:
    problem = Problem("f", 1, "", "is wrong")
    error = ConfigurationError("cannot use f", [problem], hint="look")
    assert (str(error), error.problems, error.hint) == ("cannot use f", (problem,), "look")
    assert ConfigurationError("x").problems == ()


def test_a_connect_error_has_the_status_a_client_is_told() -> None:
    assert ConnectError("refused").status == 502
    assert ConnectError("too late", status=504, hint="h").status == 504


def test_the_tree_is_drawn_as_it_is() -> None:
    """The module's docstring draws every class, each below its base."""
    drawn = (errors.__doc__ or "").splitlines()
    found: dict[str, str] = {}
    stack: list[tuple[int, str]] = []
    for line in drawn:
        words = [word for word in line.replace("├──", "").replace("└──", "").replace("│", "").split() if word]
        if not words or not isinstance(getattr(errors, words[0], None), type):
            continue
        depth = line.index(words[0])
        while stack and stack[-1][0] >= depth:
            stack.pop()
        found[words[0]] = stack[-1][1] if stack else "Exception"
        stack.append((depth, words[0]))
    classes = {
        name: each.__bases__[0].__name__
        for name, each in vars(errors).items()
        if isinstance(each, type) and issubclass(each, Exception)
    }
    assert found == classes
