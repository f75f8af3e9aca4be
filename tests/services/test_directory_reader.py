from __future__ import annotations

import asyncio
import os
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import FileIO
from pathlib import Path

import pytest

from isthmus.services import directory_reader
from isthmus.services.directory_ranges import Range
from isthmus.services.directory_reader import Reader
from isthmus.services.directory_tree import File

CONTENT = random.Random(1).randbytes(10_000)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as made:
        yield made


@pytest.fixture
def file(tmp_path: Path) -> Iterator[File]:
    (tmp_path / "f").write_bytes(CONTENT)
    with FileIO(tmp_path / "f") as handle:
        yield File(handle, ("f",), len(CONTENT), 0, "t")


async def read(reader: Reader, body: list[bytes | Range], first: bytes) -> list[bytes]:
    async with asyncio.timeout(30):
        return [piece async for piece in reader.pieces(body, first)]


async def test_parts_come_in_pieces(
    file: File, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory_reader, "PIECE", 100)
    body: list[bytes | Range] = [
        b"head",
        Range(5, 305),
        b"middle",
        Range(0, 10),
        Range(9_950, 10_000),
        b"end",
    ]
    pieces = await read(Reader(file, threads), body, CONTENT[5:105])
    assert b"".join(pieces) == b"head" + CONTENT[5:305] + b"middle" + CONTENT[:10] + CONTENT[9_950:] + b"end"
    assert max(map(len, pieces)) == 100


async def test_not_more_than_one_piece_is_read_ahead(
    file: File, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory_reader, "PIECE", 100)
    read_until = 0
    original = File.read

    def spy(file: File, start: int, size: int) -> bytes:
        nonlocal read_until
        read_until = start + size
        return original(file, start, size)

    monkeypatch.setattr(File, "read", spy)
    sent = 0
    async for piece in Reader(file, threads).pieces([Range(0, 10_000)], CONTENT[:100]):
        sent += len(piece)
        assert read_until <= sent + 100
    assert sent == 10_000


@pytest.mark.parametrize("length", [40, 100])
async def test_a_file_that_is_shorter_than_promised_is_told(
    file: File, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    monkeypatch.setattr(directory_reader, "PIECE", 100)
    with pytest.raises(OSError, match="f became shorter"):
        await read(Reader(file, threads), [Range(0, 10_001)], CONTENT[:length])


async def test_a_file_is_not_closed_under_a_thread(file: File, threads: ThreadPoolExecutor) -> None:
    """Its descriptor could belong to another connection by the time the thread reads."""
    reading, go_on = threading.Event(), threading.Event()

    class Slow(File):
        def read(self, start: int, size: int) -> bytes:
            reading.set()
            go_on.wait(30)
            return os.read(self.handle.fileno(), size)

    slow = Slow(file.handle, ("f",), len(CONTENT), 0, "t")
    reader = Reader(slow, threads)
    piece_by_piece = reader.pieces([b"head", Range(0, 10_000)], b"")
    assert await anext(piece_by_piece) == b"head"
    assert await asyncio.to_thread(reading.wait, 30)
    reader.close()
    assert not file.handle.closed
    go_on.set()
    threads.shutdown()
    assert file.handle.closed


async def test_it_closes_at_once_when_nothing_is_read(file: File, threads: ThreadPoolExecutor) -> None:
    Reader(file, threads).close()
    assert file.handle.closed
