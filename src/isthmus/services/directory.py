"""The `directory` service: static files below HOME/web (Kaazing service type `directory`).

It answers GET and HEAD below its accept's path. What it never does: leave its folder (by `..`, by any
encoding of it, or by a symbolic link), serve or list a name that begins with a dot (`.well-known` excepted),
or hold more of a file in memory than one piece. Disks may be slow, so only the service's own few threads
touch them.

aiohttp is imported when a request comes, so that a configuration without HTTP never loads it.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import re
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from email.utils import formatdate
from html import escape
from http import HTTPStatus
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple
from urllib.parse import quote, unquote_to_bytes

from isthmus import uri
from isthmus.config.model import DirectoryProperties, Service
from isthmus.errors import ConfigurationError, UriError

if TYPE_CHECKING:
    from aiohttp import web

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_Arguments = TypeVarTuple("_Arguments")

PIECE = 256 * 1024
"""How much of a file is read, and held in memory, at a time; in bytes."""
STALL_TIMEOUT = 300.0
"""How long a client may take for one piece, in seconds, before its connection is aborted."""
MAXIMUM_LISTED = 5000
"""How many names of one folder are listed."""
MAXIMUM_ERROR_PAGE = 256 * 1024
"""The largest error page that is sent, in bytes."""
_THREADS = 4

_ALLOWED = "GET, HEAD"
_HIDDEN_BUT_SERVED = ".well-known"

# RFC 9110 section 8.3. A table of our own: the machine's would make answers depend on where isthmus runs.
_TEXT_TYPES = {
    "css": "text/css",
    "csv": "text/csv",
    "htm": "text/html",
    "html": "text/html",
    "js": "text/javascript",
    "json": "application/json",
    "log": "text/plain",
    "map": "application/json",
    "md": "text/markdown",
    "mjs": "text/javascript",
    "svg": "image/svg+xml",
    "toml": "application/toml",
    "txt": "text/plain",
    "vtt": "text/vtt",
    "webmanifest": "application/manifest+json",
    "xhtml": "application/xhtml+xml",
    "xml": "application/xml",
    "xsl": "application/xml",
    "yaml": "application/yaml",
    "yml": "application/yaml",
}
_BINARY_TYPES = {
    "avif": "image/avif",
    "bz2": "application/x-bzip2",
    "gif": "image/gif",
    "gz": "application/gzip",
    "ico": "image/vnd.microsoft.icon",
    "jar": "application/java-archive",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "mp3": "audio/mpeg",
    "mp4": "video/mp4",
    "ogg": "audio/ogg",
    "otf": "font/otf",
    "pdf": "application/pdf",
    "png": "image/png",
    "swf": "application/x-shockwave-flash",
    "tar": "application/x-tar",
    "tgz": "application/gzip",
    "ttf": "font/ttf",
    "wasm": "application/wasm",
    "wav": "audio/wav",
    "webm": "video/webm",
    "webp": "image/webp",
    "woff": "font/woff",
    "woff2": "font/woff2",
    "zip": "application/zip",
}


def content_type(name: str) -> str:
    """Return the Content-Type for a file's name, with its charset where the type is text."""
    ending = name.rpartition(".")[2].lower() if "." in name else ""
    if ending in _TEXT_TYPES:
        return _TEXT_TYPES[ending] + "; charset=utf-8"
    return _BINARY_TYPES.get(ending, "application/octet-stream")


class Refused(Exception):
    """A request cannot be granted; `status` is the answer."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass(slots=True)
class File:
    """An open file, with its first piece if that was wanted. Whoever has it closes it."""

    handle: FileIO
    name: str
    size: int
    modified: int
    """In nanoseconds since 1970."""
    first: bytes = b""

    @property
    def etag(self) -> str:
        """A strong validator (RFC 9110 section 8.8.3), without its quotes."""
        return f"{self.modified:x}-{self.size:x}"

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes; fewer only at the end of the file."""
        piece = self.handle.read(size) or b""
        while len(piece) < size and (more := self.handle.read(size - len(piece))):
            piece += more
        return piece


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a listing."""

    name: str
    folder: bool
    size: int
    modified: float


@dataclass(frozen=True, slots=True)
class Listing:
    """What a folder holds: folders first, then files, each by name."""

    entries: tuple[Entry, ...]
    left_out: int


class Redirect(Exception):
    """The path is a folder's but does not end in `/`."""


def split_path(path: str) -> tuple[tuple[str, ...], bool]:
    """Split the path of a request target into its decoded names, and say whether it ends in `/`.

    Raises `Refused` 400 for a path that tries to be something else than it seems: dot segments, an encoded
    slash, a backslash, control characters, broken or double percent-encoding, bytes that are not UTF-8; 404
    for an empty name.
    """
    if not path.startswith("/") or re.search(r"%(?![0-9A-Fa-f]{2})", path):
        raise Refused(400)
    parts = path.split("/")[1:]
    slash = parts[-1] == ""
    names = []
    for part in parts[:-1] if slash else parts:
        try:
            name = unquote_to_bytes(part).decode()
        except UnicodeError:
            raise Refused(400) from None
        if name in (".", "..") or re.search(r"[\x00-\x1f\x7f/\\]|%(25)*(00|2e|2f|5c)", name, re.IGNORECASE):
            raise Refused(400)
        if not name:
            raise Refused(404)
        names.append(name)
    return tuple(names), slash


@dataclass(frozen=True, slots=True)
class Tree:
    """The folder that is served. Its methods block: call them from a thread.

    `root` is the real path of the folder, without symbolic links.
    """

    root: str
    welcome_file: str | None
    indexes: bool

    def look(self, names: tuple[str, ...], slash: bool, wanted: Callable[[File], bool]) -> File | Listing:
        """Open what `names` lead to; the first piece of a file is read if `wanted` says so.

        Raises `Redirect` for a folder without its slash, `Refused` and `OSError` for what cannot be had.
        """
        if any(_hidden(name) for name in names):
            raise Refused(404)
        path = self._inside(os.path.join(self.root, *names))
        if not os.path.isdir(path):
            if slash:
                raise Refused(404)
            return self._open(path, wanted)
        if not slash:
            raise Redirect
        if self.welcome_file is not None:
            try:
                return self._open(self._inside(os.path.join(path, self.welcome_file)), wanted)
            except FileNotFoundError:
                pass
        if not self.indexes:
            raise Refused(403)
        return self._list(path)

    def _inside(self, path: str) -> str:
        """Return the real path, or refuse one that leads out of the folder."""
        real = os.path.realpath(path, strict=True)
        if real != self.root and not real.startswith(os.path.join(self.root, "")):
            raise Refused(404)
        return real

    def _open(self, path: str, wanted: Callable[[File], bool]) -> File:
        if not os.path.isfile(path):  # also so that no device or pipe is opened
            raise Refused(404)
        handle = FileIO(path, opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK))
        try:
            facts = os.fstat(handle.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise Refused(404)
            file = File(handle, os.path.basename(path), facts.st_size, facts.st_mtime_ns)
            if wanted(file):
                file.first = file.read(min(PIECE, file.size))
        except BaseException:
            handle.close()
            raise
        return file

    def _list(self, path: str) -> Listing:
        entries: list[Entry] = []
        left_out = 0
        with os.scandir(path) as found:
            for item in found:
                if _hidden(item.name) or "\\" in item.name or not item.name.isprintable():
                    continue  # could not be asked for
                if len(entries) == MAXIMUM_LISTED:
                    left_out += 1
                    continue
                try:
                    if item.is_symlink():
                        self._inside(item.path)
                    facts = item.stat()
                except (OSError, Refused):
                    continue
                if stat.S_ISDIR(facts.st_mode) or stat.S_ISREG(facts.st_mode):
                    folder = stat.S_ISDIR(facts.st_mode)
                    entries.append(Entry(item.name, folder, facts.st_size, facts.st_mtime))
        entries.sort(key=lambda entry: (not entry.folder, entry.name.casefold(), entry.name))
        return Listing(tuple(entries), left_out)


def _hidden(name: str) -> bool:
    return name.startswith(".") and name != _HIDDEN_BUT_SERVED


@dataclass(slots=True)
class _Place:
    """One accept: where the folder begins for requests to it."""

    host: str
    port: int
    names: tuple[str, ...] = field(default=())


class DirectoryService:
    """Serves one folder; an `HttpService`."""

    def __init__(self, service: Service, home: Path) -> None:
        """Take a service of type `directory` and the GATEWAY_HOME. Nothing on disk is touched yet."""
        if not isinstance(service.properties, DirectoryProperties):
            raise TypeError(f"service {service.name} is not a directory service")
        self._name = service.name
        self._properties = service.properties
        self._web = home / "web"
        self._accepts = service.accepts
        self._places: list[_Place] = []
        self._tree = Tree("", None, False)
        self._error_pages: Path | None = None
        self._threads: ThreadPoolExecutor | None = None

    async def start(self) -> None:
        """Find the folders. Raises `ConfigurationError` if one cannot be served."""
        await asyncio.to_thread(self._find_folders)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix=f"isthmus-{self._name}")

    async def stop(self, deadline: float) -> None:
        """Release the threads. No request may be under way."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        try:
            return await self._answer(request)
        except Refused as refused:
            return await self._refuse(request, refused.status)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        from aiohttp import web

        if request.method not in ("GET", "HEAD"):
            raise Refused(405)
        names, slash = split_path(request.rel_url.raw_path)
        below = self._below(request, names)

        def wanted(file: File) -> bool:
            return request.method == "GET" and not _unchanged(request, file)

        try:
            found = await self._in_thread(self._tree.look, below, slash, wanted)
        except Redirect:
            query = request.rel_url.raw_query_string
            location = _quoted(names) + "/" + (f"?{query}" if query else "")
            return web.Response(status=302, headers={"Location": location})
        except OSError as error:
            raise Refused(self._status(error)) from error
        if isinstance(found, Listing):
            return _page(200, _listing_page(names, found, top=not below))
        return await self._send(request, found)

    async def _send(self, request: web.BaseRequest, file: File) -> web.StreamResponse:
        from aiohttp import web

        headers = {
            "ETag": f'"{file.etag}"',
            "Last-Modified": formatdate(file.modified // 1_000_000_000, usegmt=True),
            "X-Content-Type-Options": "nosniff",
        }
        try:
            if _unchanged(request, file):
                return web.Response(status=304, headers=headers)
            headers["Content-Type"] = content_type(file.name)
            if request.method == "GET" and len(file.first) == file.size:
                return web.Response(body=file.first, headers=headers)
            response = web.StreamResponse(headers=headers)
            response.content_length = file.size
            await response.prepare(request)
            if request.method == "GET":
                await self._stream(request, response, file)
            return response
        finally:
            file.handle.close()

    async def _stream(self, request: web.BaseRequest, response: web.StreamResponse, file: File) -> None:
        """Send exactly the bytes that were promised, or abort the connection."""
        left = file.size
        piece, file.first = file.first, b""
        try:
            while piece:
                async with asyncio.timeout(STALL_TIMEOUT):
                    await response.write(piece)
                left -= len(piece)
                piece = await self._in_thread(file.read, min(PIECE, left)) if left else b""
            if left:
                raise OSError(f"{file.name} became shorter while it was sent")
        except ConnectionError:
            raise
        except (OSError, TimeoutError) as error:
            reason = str(error) or f"the client took nothing for {STALL_TIMEOUT:g} s"
            _log.warning("Service %s: sending %s broken off: %s", self._name, request.rel_url, reason)
            if request.transport is not None:
                request.transport.abort()
            raise ConnectionResetError(reason) from error

    async def _refuse(self, request: web.BaseRequest, status: int) -> web.StreamResponse:
        text = await self._in_thread(self._error_page, status) if self._threads is not None else b""
        response = _page(status, text or _error_page(status))
        if status == 405:
            response.headers["Allow"] = _ALLOWED
        return response

    def _error_page(self, status: int) -> bytes:
        """Return the user's page for `status`, or nothing. Blocks."""
        if self._error_pages is None:
            return b""
        page = self._error_pages / f"{status}.html"
        try:
            if not page.is_file() or page.stat().st_size > MAXIMUM_ERROR_PAGE:
                return b""
            return page.read_bytes()
        except OSError as error:
            _log.warning("Service %s: the error page %s cannot be read: %s", self._name, page, error)
            return b""

    def _below(self, request: web.BaseRequest, names: tuple[str, ...]) -> tuple[str, ...]:
        """Take the accept's path off. Raises `Refused` 404 where no accept has it.

        Where accepts have different paths, the one of the request's Host is taken if there is one.
        """
        places = self._places
        if len(places) > 1:
            asked = _authority(request)
            places = [place for place in places if asked == (place.host, place.port)] or places
        fitting = [place.names for place in places if names[: len(place.names)] == place.names]
        if not fitting:
            raise Refused(404)
        return names[len(max(fitting, key=len)) :]

    async def _in_thread(self, work: Callable[[*_Arguments], _T], *arguments: *_Arguments) -> _T:
        if self._threads is None:
            raise Refused(503)
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    def _status(self, error: OSError) -> int:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG):
            return 404
        if isinstance(error, PermissionError):
            return 403
        _log.error("Service %s: %s", self._name, error)
        return 503 if error.errno in (errno.EMFILE, errno.ENFILE) else 500

    def _find_folders(self) -> None:
        welcome = self._properties.welcome_file
        folder = self._folder(self._properties.directory)
        if not folder.is_dir():
            what = "is not a folder" if folder.exists() else "does not exist"
            raise ConfigurationError(
                f"Service {self._name}: the directory {folder} {what}",
                hint="`isthmus init DIR` writes a home that has one; --home or GATEWAY_HOME names it",
            )
        self._tree = Tree(
            os.path.realpath(folder),
            welcome.lstrip("/") if welcome is not None else None,
            self._properties.options == "indexes",
        )
        if self._properties.error_pages_directory is not None:
            pages = self._folder(self._properties.error_pages_directory)
            if pages.is_dir():
                self._error_pages = pages
            else:
                _log.warning(
                    "Service %s: %s does not exist; the built-in error pages are used", self._name, pages
                )
        self._places = [
            _Place(accept.host, accept.port, split_path(accept.resource)[0]) for accept in self._accepts
        ] or [_Place("", 0)]

    def _folder(self, value: str) -> Path:
        """Return a configured folder: the model has seen to it that it is one below `web`."""
        return self._web / value.lstrip("/")


def _authority(request: web.BaseRequest) -> tuple[str, int] | None:
    try:
        host, port = uri.split_host_port(request.host, request.host)
    except UriError:
        return None
    return host, port or (443 if request.secure else 80)


def _unchanged(request: web.BaseRequest, file: File) -> bool:
    """Whether the client has this very file already (RFC 9110 section 13.2.2)."""
    if request.if_none_match is not None:
        return any(tag.value in ("*", file.etag) for tag in request.if_none_match)
    since = request.if_modified_since
    return since is not None and file.modified // 1_000_000_000 <= since.timestamp()


def _quoted(names: tuple[str, ...]) -> str:
    return "".join("/" + quote(name, safe="") for name in names)


_STYLE = """
:root{color-scheme:light dark}
body{font:1rem/1.5 system-ui,sans-serif;max-width:56rem;margin:3rem auto;padding:0 1.25rem;
background:Canvas;color:CanvasText}
h1{font-size:1.5rem;line-height:1.25;overflow-wrap:anywhere}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.4rem .75rem .4rem 0;
border-bottom:1px solid color-mix(in srgb,currentColor 15%,transparent)}
td:first-child{overflow-wrap:anywhere}
th:first-child{width:60%}
th.n,td.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
"""


def _html(title: str, body: str) -> bytes:
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n<h1>{escape(title)}</h1>\n{body}\n</main>\n</body>\n</html>\n"
    ).encode()


def _page(status: int, text: bytes) -> web.Response:
    from aiohttp import web

    headers = {"Content-Type": "text/html; charset=utf-8", "X-Content-Type-Options": "nosniff"}
    return web.Response(status=status, body=text, headers=headers | {"Cache-Control": "no-cache"})


def _error_page(status: int) -> bytes:
    known = HTTPStatus(status)
    return _html(f"{status} {known.phrase}", f"<p>{escape(known.description or 'The request failed.')}</p>")


def _listing_page(names: tuple[str, ...], listing: Listing, *, top: bool) -> bytes:
    rows = []
    if not top:
        rows.append('<tr><td><a href="../">Parent folder</a></td><td></td><td></td></tr>')
    for entry in listing.entries:
        slash = "/" if entry.folder else ""
        size = "" if entry.folder else f"{entry.size:,}"
        when = formatdate(entry.modified, usegmt=True)[5:-7]
        link = f'<a href="./{quote(entry.name, safe="")}{slash}">{escape(entry.name)}{slash}</a>'
        rows.append(f'<tr><td>{link}</td><td class="n">{size}</td><td class="n">{when}</td></tr>')
    table = (
        '<table>\n<thead><tr><th scope="col">Name</th><th scope="col" class="n">Bytes</th>'
        '<th scope="col" class="n">Changed (UTC)</th></tr></thead>\n'
        "<tbody>\n" + "\n".join(rows) + "\n</tbody>\n</table>"
    )
    if not listing.entries:
        table += "\n<p>This folder is empty.</p>"
    if listing.left_out:
        table += f"\n<p>{listing.left_out:,} more names are not shown.</p>"
    return _html("Index of " + "/".join(("", *names, "")), table)
