"""What is refused before anything is understood: size, encoding, junk."""

from __future__ import annotations

import os
import threading
import tracemalloc
from pathlib import Path

import pytest
from tests.config.conftest import NAMESPACE, PROXY, Load, Problems, gateway

from isthmus.config import document, load
from isthmus.config.document import MAXIMUM_FILE_SIZE, MAXIMUM_PROBLEMS, failure
from isthmus.errors import ConfigurationError, Problem

ENCODINGS = "utf-8, utf-16, us-ascii, iso-8859-1, iso-8859-15, windows-1252"
PLAIN = gateway(PROXY)


def declared(encoding: str, text: str = PLAIN) -> str:
    return f'<?xml version="1.0" encoding="{encoding}"?>\n{text}'


@pytest.mark.parametrize(
    "data",
    [
        PLAIN.encode(),
        b"\xef\xbb\xbf" + PLAIN.encode(),
        b"\n\n  " + PLAIN.encode(),
        declared("UTF-8").encode(),
        declared("utf8").encode(),
        b"\xef\xbb\xbf" + declared("utf-8").encode(),
        declared("UTF-16").encode("utf-16"),
        b"\xff\xfe" + declared("utf-16le").encode("utf-16-le"),
        b"\xfe\xff" + PLAIN.encode("utf-16-be"),
        declared("US-ASCII").encode("ascii"),
        PLAIN.replace("\n", "\r\n").encode(),
    ],
)
def test_encodings_that_are_read(load_text: Load, data: bytes) -> None:
    assert load_text(data).config == load_text(PLAIN).config


@pytest.mark.parametrize(
    ("encoding", "name"), [("iso-8859-1", "Zürich"), ("iso-8859-15", "5 €"), ("windows-1252", "5 €")]
)
def test_a_declared_encoding_is_believed(load_text: Load, encoding: str, name: str) -> None:
    text = declared(encoding, gateway(PROXY.replace("<accept>", f"<name>{name}</name><accept>")))
    assert load_text(text.encode(encoding)).config.services[0].name == name


@pytest.mark.parametrize(
    ("data", "block"),
    [
        (
            declared("EBCDIC-CP-US").encode(),
            f"gateway.xml:1: the encoding 'EBCDIC-CP-US' is not supported\n    allowed: {ENCODINGS}",
        ),
        (
            declared("UTF-7").encode(),
            f"gateway.xml:1: the encoding 'UTF-7' is not supported\n    allowed: {ENCODINGS}",
        ),
        (
            declared("rot13").encode(),
            f"gateway.xml:1: the encoding 'rot13' is not supported\n    allowed: {ENCODINGS}",
        ),
        (
            b"\xef\xbb\xbf" + declared("iso-8859-1").encode(),
            "gateway.xml:1: is declared as iso-8859-1 but begins like UTF-8",
        ),
        (declared("utf-8").encode("utf-16"), "gateway.xml:1: is declared as utf-8 but begins like UTF-16"),
        (
            declared("utf-16").encode(),
            (
                "gateway.xml:1: is declared as utf-16 but is not\n"
                "    allowed: UTF-8, or the file's real encoding"
            ),
        ),
        (PLAIN.encode("utf-32"), f"gateway.xml: is UTF-32, which is not supported\n    allowed: {ENCODINGS}"),
        (
            PLAIN.encode() + b"\n\xff",
            (
                "gateway.xml:4: is not UTF-8 text: byte 0xff cannot be read\n"
                "    allowed: save the file as UTF-8, or declare the encoding it has"
            ),
        ),
        (
            declared("us-ascii", PLAIN + "\n<!-- ü -->").encode(),
            (
                "gateway.xml:5: is not US-ASCII text: byte 0xc3 cannot be read\n"
                "    allowed: save the file as UTF-8, or declare the encoding it has"
            ),
        ),
        (
            b"\xff\xfea",
            (
                "gateway.xml: is not UTF-16 text: byte 0x61 cannot be read\n"
                "    allowed: save the file as UTF-8, or declare the encoding it has"
            ),
        ),
        (PLAIN.encode() + b"\n\0", "gateway.xml:4: is not a text file: it has the character U+0000"),
        (b"\x7fELF\x02\x01\x01\0", "gateway.xml:1: is not a text file: it has the character U+007F"),
        (bytes(range(1, 9)), "gateway.xml:1: is not a text file: it has the character U+0001"),
    ],
)
def test_what_is_not_text(problems_of: Problems, data: bytes, block: str) -> None:
    assert problems_of(data) == [block]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path / "none.xml")
    assert str(caught.value) == f"cannot use {tmp_path}/none.xml: 1 problem"
    (problem,) = caught.value.problems
    assert str(problem) == f"{tmp_path}/none.xml: cannot be read: No such file or directory"


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path)
    (problem,) = caught.value.problems
    assert str(problem) == f"{tmp_path}: cannot be read: Is a directory"


def test_a_device_is_not_a_file() -> None:
    with pytest.raises(ConfigurationError, match="1 problem") as caught:
        load(Path("/dev/zero"))
    (problem,) = caught.value.problems
    assert str(problem) == "/dev/zero: is not a file\n    allowed: a configuration file, XML or TOML"


def test_a_pipe_is_read(tmp_path: Path) -> None:
    """`isthmus check <(sed ... gateway-config.xml)` works."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_text, args=(PLAIN,))
    writer.start()
    assert load(path).config.services[0].name == "proxy-1"
    writer.join()


def test_a_large_file_is_refused_without_reading_it(tmp_path: Path) -> None:
    path = tmp_path / "gateway.xml"
    with path.open("wb") as file:
        file.write(f'<gateway-config xmlns="{NAMESPACE}">'.encode())
        file.truncate(100 * 1024 * 1024)
    tracemalloc.start()
    try:
        with pytest.raises(ConfigurationError) as caught:
            load(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    what = "is larger than 1 MiB\n    allowed: at most 1 MiB; is this a configuration file?"
    assert [str(problem) for problem in caught.value.problems] == [f"{path}: {what}"]
    assert peak < 4 * MAXIMUM_FILE_SIZE


def test_the_largest_file_is_read(load_text: Load) -> None:
    text = PLAIN + "<!--" + "x" * (MAXIMUM_FILE_SIZE - len(PLAIN) - 7) + "-->"
    assert len(text) == MAXIMUM_FILE_SIZE
    assert load_text(text).config.services


def test_problems_come_in_the_order_of_the_file_and_end_somewhere() -> None:
    problems = [Problem("f", line, "", "wrong") for line in range(500, 0, -1)]
    error = failure("f", [*problems, *problems])
    assert str(error) == "cannot use f: 500 problems"
    assert [problem.line for problem in error.problems[:-1]] == list(range(1, MAXIMUM_PROBLEMS + 1))
    assert str(error.problems[-1]) == "f: 400 more problems are not shown"


def test_limits_are_the_documented_ones() -> None:
    limits = (document.MAXIMUM_ELEMENTS, document.MAXIMUM_DEPTH, document.MAXIMUM_VALUE)
    assert limits == (20_000, 16, 4096)
