"""The folder that the `directory` service serves: finds, opens and lists what a path names.

Everything here blocks; it is called from the service's own threads.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from io import FileIO

from isthmus.services.directory_codings import ENDINGS
from isthmus.services.directory_pages import Entry, Listing
from isthmus.services.directory_paths import Redirect, Refused, is_hidden

MAXIMUM_LISTED = 5000
"""How many names of one folder are listed."""


@dataclass(slots=True)
class File:
    """An open file. Whoever has it closes its handle."""

    handle: FileIO
    names: tuple[str, ...]
    """Its path below the folder, as it was asked for."""
    size: int
    modified: int
    """In nanoseconds since 1970; of a precompressed file that of the original."""
    tag: str
    """A strong validator (RFC 9110 section 8.8.3), without its quotes."""
    coding: str = ""
    """The content coding of what is in it; "" for none."""
    varies: bool = False
    """Whether another Accept-Encoding could bring another file."""

    def read(self, start: int, size: int) -> bytes:
        """Return up to `size` bytes from `start` on; fewer only at the end of the file."""
        self.handle.seek(start)
        piece = self.handle.read(size) or b""
        while len(piece) < size and (more := self.handle.read(size - len(piece))):
            piece += more
        return piece


@dataclass(frozen=True, slots=True)
class Tree:
    """The folder that is served.

    `root` is the real path of the folder, without symbolic links. `follow` says whether symbolic links may
    lead out of it.
    """

    root: str
    welcome_file: str | None = None
    indexes: bool = False
    follow: bool = False

    def look(self, names: tuple[str, ...], slash: bool, codings: tuple[str, ...] = ()) -> File | Listing:
        """Open what `names` lead to, or a precompressed form of it in the first of `codings` that there is.

        Raises `Redirect` for a folder without its slash, `Refused` and `OSError` for what cannot be had.
        """
        if any(is_hidden(name) for name in names):
            raise Refused(404)
        path = self._real(os.path.join(self.root, *names))
        if not os.path.isdir(path):
            if slash:
                raise Refused(404)
            return self._file(names, codings)
        if not slash:
            raise Redirect
        if self.welcome_file is not None:
            try:
                return self._file((*names, *self.welcome_file.split("/")), codings)
            except FileNotFoundError:
                pass
        if not self.indexes:
            raise Refused(403)
        return self._list(path)

    def _real(self, path: str) -> str:
        """Return the real path, or refuse one that leads out of the folder."""
        real = os.path.realpath(path, strict=True)
        if self.follow or real == self.root or real.startswith(os.path.join(self.root, "")):
            return real
        raise Refused(404)

    def _file(self, names: tuple[str, ...], codings: tuple[str, ...]) -> File:
        path = os.path.join(self.root, *names)
        handle, facts = self._open(path)
        original = f"{facts.st_mtime_ns:x}-{facts.st_size:x}"
        file = File(handle, names, facts.st_size, facts.st_mtime_ns, original)
        try:
            there = [coding for coding in ENDINGS if self._is_there(path + ENDINGS[coding], facts)]
            file.varies = bool(there)
            for coding in codings:
                if coding in there and self._take(file, path, coding, original):
                    break
        except BaseException:
            file.handle.close()
            raise
        return file

    def _is_there(self, path: str, original: os.stat_result) -> bool:
        """Whether there is a precompressed file; one older than its original is not believed."""
        try:
            facts = os.stat(path)
            self._real(path)
        except (OSError, Refused):
            return False
        return stat.S_ISREG(facts.st_mode) and int(facts.st_mtime) >= int(original.st_mtime)

    def _take(self, file: File, path: str, coding: str, original: str) -> bool:
        """Put a precompressed file in the place of its original, if it can be opened."""
        try:
            handle, facts = self._open(path + ENDINGS[coding])
        except (OSError, Refused):
            return False
        file.handle.close()
        file.handle, file.size, file.coding = handle, facts.st_size, coding
        file.tag = f"{original}-{facts.st_mtime_ns:x}-{facts.st_size:x}-{coding}"
        return True

    def _open(self, path: str) -> tuple[FileIO, os.stat_result]:
        path = self._real(path)
        if not os.path.isfile(path):  # also so that no device or pipe is opened
            raise Refused(404)
        handle = FileIO(path, opener=_opener)
        try:
            facts = os.fstat(handle.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise Refused(404)
        except BaseException:
            handle.close()
            raise
        return handle, facts

    def _list(self, path: str) -> Listing:
        entries: list[Entry] = []
        left_out = 0
        with os.scandir(path) as found:
            for item in found:
                if is_hidden(item.name) or "\\" in item.name or not item.name.isprintable():
                    continue  # could not be asked for
                if len(entries) == MAXIMUM_LISTED:
                    left_out += 1
                    continue
                try:
                    if item.is_symlink():
                        self._real(item.path)
                    facts = item.stat()
                except (OSError, Refused):
                    continue
                if stat.S_ISDIR(facts.st_mode) or stat.S_ISREG(facts.st_mode):
                    folder = stat.S_ISDIR(facts.st_mode)
                    entries.append(Entry(item.name, folder, facts.st_size, facts.st_mtime))
        entries.sort(key=lambda entry: (not entry.folder, entry.name.casefold(), entry.name))
        return Listing(tuple(entries), left_out)


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
