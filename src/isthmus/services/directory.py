"""The `directory` service: static files below HOME/web (Kaazing service type `directory`).

It answers GET and HEAD below its accept's path. What it never does: leave its folder (by `..`, by any
encoding of it, or by a symbolic link unless `symbolic-links` is `follow`), serve or list a name that begins
with a dot (`.well-known` excepted), or hold more of a file in memory than two pieces. Disks may be slow, so
only the service's own few threads touch them.

aiohttp is imported when a request comes, so that a configuration without HTTP never loads it.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple

from isthmus import uri
from isthmus.config.model import DirectoryProperties, Service
from isthmus.errors import ConfigurationError, UriError
from isthmus.services import directory_codings, directory_conditions, directory_ranges
from isthmus.services.directory_caching import Caching
from isthmus.services.directory_conditions import Verdict
from isthmus.services.directory_pages import Listing, error_page, listing_page
from isthmus.services.directory_paths import Redirect, Refused, quoted, split_path
from isthmus.services.directory_ranges import Range
from isthmus.services.directory_reader import PIECE, Reader
from isthmus.services.directory_tree import File, Tree
from isthmus.services.directory_types import content_type

if TYPE_CHECKING:
    from aiohttp import web

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_Arguments = TypeVarTuple("_Arguments")

STALL_TIMEOUT = 300.0
"""How long a client may take for one piece, in seconds, before its connection is aborted."""
MAXIMUM_ERROR_PAGE = 256 * 1024
"""The largest error page that is sent, in bytes."""
_THREADS = 4

_METHODS = ("GET", "HEAD")


@dataclass(frozen=True, slots=True)
class _Place:
    """One accept: where the folder begins for requests to it."""

    host: str
    port: int
    names: tuple[str, ...] = field(default=())


@dataclass(slots=True)
class _Found:
    """An open file, what is to be answered, and the first piece of that."""

    file: File
    verdict: Verdict
    first: bytes = b""

    @property
    def ranges(self) -> tuple[Range, ...]:
        """What of the file is sent."""
        return self.verdict.ranges or (Range(0, self.file.size),)


class DirectoryService:
    """Serves one folder; an `HttpService`."""

    def __init__(self, service: Service, home: Path) -> None:
        """Take a service of type `directory` and the GATEWAY_HOME. Nothing on disk is touched yet."""
        if not isinstance(service.properties, DirectoryProperties):
            raise TypeError(f"service {service.name} is not a directory service")
        self._name = service.name
        self._properties = service.properties
        self._types = {each.extension: each.mime_type for each in service.mime_mappings}
        self._caching = Caching(service.properties.locations)
        self._web = home / "web"
        self._accepts = service.accepts
        self._places: list[_Place] = []
        self._tree = Tree("")
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
            return await self._refuse(refused)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        from aiohttp import web

        if request.method not in _METHODS:
            raise Refused(405, {"Allow": ", ".join(_METHODS)})
        names, slash = split_path(request.rel_url.raw_path)
        below = self._below(request, names)
        fields = _joined(request, (*directory_conditions.FIELDS, "Accept-Encoding"))
        try:
            found = await self._in_thread(self._find, request.method, below, slash, fields)
        except Redirect:
            query = request.rel_url.raw_query_string
            location = quoted(names) + "/" + (f"?{query}" if query else "")
            return web.Response(status=302, headers={"Location": location})
        except OSError as error:
            raise Refused(self._status(error)) from error
        if isinstance(found, Listing):
            return _page(200, listing_page(names, found, top=not below))
        reader = Reader(found.file, self._executor())
        try:
            return await self._send(request, found, reader)
        finally:
            reader.close()

    def _find(
        self, method: str, names: tuple[str, ...], slash: bool, fields: Mapping[str, str]
    ) -> _Found | Listing:
        """Open what is asked for, decide about it, and read its first piece. Blocks."""
        codings = directory_codings.acceptable(fields.get("Accept-Encoding"))
        file = self._tree.look(names, slash, codings)
        if isinstance(file, Listing):
            return file
        try:
            modified = file.modified // 1_000_000_000
            verdict = directory_conditions.judge(
                method, fields, tag=file.tag, modified=modified, size=file.size
            )
            found = _Found(file, verdict)
            if method == "GET" and verdict.status in (200, 206):
                start = found.ranges[0]
                found.first = file.read(start.start, min(PIECE, len(start)))
        except BaseException:
            file.handle.close()
            raise
        return found

    async def _send(self, request: web.BaseRequest, found: _Found, reader: Reader) -> web.StreamResponse:
        from aiohttp import web

        file, verdict = found.file, found.verdict
        if verdict.status == 412:
            raise Refused(412)
        if verdict.status == 416:
            raise Refused(416, {"Content-Range": f"bytes */{file.size}"})
        headers = self._headers(file)
        if verdict.status == 304:
            return web.Response(status=304, headers=headers)
        kind = content_type(file.names[-1], self._types)
        headers |= {"Accept-Ranges": "bytes", "X-Content-Type-Options": "nosniff"}
        if file.coding:
            headers["Content-Encoding"] = file.coding
        body: list[bytes | Range] = list(found.ranges)
        if len(found.ranges) > 1:
            boundary = secrets.token_hex(16)
            body = directory_ranges.multipart(found.ranges, file.size, kind, boundary)
            kind = f"multipart/byteranges; boundary={boundary}"
        elif verdict.ranges:
            headers["Content-Range"] = found.ranges[0].content_range(file.size)
        headers["Content-Type"] = kind
        if request.method == "GET" and len(body) == 1 and len(found.first) == len(body[0]):
            return web.Response(status=verdict.status, body=found.first, headers=headers)
        response = web.StreamResponse(status=verdict.status, headers=headers)
        response.content_length = sum(map(len, body))
        await response.prepare(request)
        if request.method == "GET":
            first, found.first = found.first, b""
            await self._stream(request, response, reader.pieces(body, first))
        return response

    def _headers(self, file: File) -> dict[str, str]:
        """Return the fields that a 304 has, too."""
        headers = {
            "ETag": f'"{file.tag}"',
            "Last-Modified": formatdate(file.modified // 1_000_000_000, usegmt=True),
        }
        if file.varies:
            headers["Vary"] = "Accept-Encoding"
        control = self._caching.header(file.names, file.modified / 1e9, time.time())
        if control is not None:
            headers["Cache-Control"] = control
        return headers

    async def _stream(
        self, request: web.BaseRequest, response: web.StreamResponse, pieces: AsyncIterator[bytes]
    ) -> None:
        """Send exactly the bytes that were promised, or abort the connection."""
        try:
            async for piece in pieces:
                async with asyncio.timeout(STALL_TIMEOUT):
                    await response.write(piece)
        except ConnectionError:
            raise
        except (OSError, TimeoutError) as error:
            reason = str(error) or f"the client took nothing for {STALL_TIMEOUT:g} s"
            _log.warning("Service %s: sending %s broken off: %s", self._name, request.rel_url, reason)
            if request.transport is not None:
                request.transport.abort()
            raise ConnectionResetError(reason) from error

    async def _refuse(self, refused: Refused) -> web.StreamResponse:
        status = refused.status
        text = await self._in_thread(self._error_page, status) if self._threads is not None else b""
        response = _page(status, text or error_page(status))
        response.headers.update(refused.headers)
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
        return await asyncio.get_running_loop().run_in_executor(self._executor(), work, *arguments)

    def _executor(self) -> ThreadPoolExecutor:
        if self._threads is None:
            raise Refused(503)
        return self._threads

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
            self._properties.symbolic_links == "follow",
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


def _joined(request: web.BaseRequest, names: tuple[str, ...]) -> dict[str, str]:
    """Return the fields of a request that came, by name; several of one name are one list."""
    return {name: ", ".join(found) for name in names if (found := request.headers.getall(name, []))}


def _page(status: int, text: bytes) -> web.Response:
    from aiohttp import web

    headers = {"Content-Type": "text/html; charset=utf-8", "X-Content-Type-Options": "nosniff"}
    return web.Response(status=status, body=text, headers=headers | {"Cache-Control": "no-cache"})
