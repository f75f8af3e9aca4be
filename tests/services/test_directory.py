"""The directory service, asked through aiohttp's own server and over real files."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import time
from collections.abc import AsyncIterator, Callable
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from isthmus.config.model import DirectoryProperties, MimeMapping, Service
from isthmus.errors import ConfigurationError
from isthmus.services import directory, directory_reader, directory_tree
from isthmus.services.directory import DirectoryService
from isthmus.services.directory_tree import File


def service(*accepts: str, **properties: Any) -> Service:
    values = {"directory": "/base"} | {name.replace("_", "-"): value for name, value in properties.items()}
    return Service.model_validate(
        {
            "name": "files",
            "type": "directory",
            "accept": accepts or ("http://h:8000/",),
            "properties": DirectoryProperties.model_validate(values),
        }
    )


@pytest.fixture
def home(tmp_path: Path) -> Path:
    base = tmp_path / "web" / "base"
    (base / "sub" / "deep").mkdir(parents=True)
    (base / "index.html").write_text("<p>welcome")
    (base / "sub" / "a b&c.txt").write_text("text")
    (base / "sub" / "caf\u00e9.json").write_text("{}")
    (base / "sub" / ".hidden").write_text("secret")
    (base / ".well-known").mkdir()
    (base / ".well-known" / "ok").write_text("ok")
    (base / "empty").write_bytes(b"")
    (base / "100%.txt").write_text("percent")
    (tmp_path / "web" / "secret.txt").write_text("secret")
    (tmp_path / "web" / "error-pages").mkdir()
    (tmp_path / "web" / "error-pages" / "404.html").write_text("<p>my own 404")
    (base / "out").symlink_to(tmp_path / "web")
    (base / "out.txt").symlink_to("../secret.txt")
    (base / "in.html").symlink_to("index.html")
    return tmp_path


class Answer:
    def __init__(self, raw: bytes) -> None:
        head, _, self.body = raw.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split(" ")[1])
        self.fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}


class Site:
    def __init__(self, port: int, served: DirectoryService) -> None:
        self.port = port
        self.served = served

    async def get(self, target: str, method: str = "GET", host: str = "h:8000", **fields: str) -> Answer:
        """Ask once, the target exactly as written."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        head = f"{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n"
        head += "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
        writer.write(head.encode() + b"\r\n")
        try:
            return Answer(await asyncio.wait_for(reader.read(), 30))
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


@contextlib.asynccontextmanager
async def site(
    home: Path, *accepts: str, served: Service | None = None, **properties: Any
) -> AsyncIterator[Site]:
    directory = DirectoryService(served or service(*accepts, **properties), home)
    await directory.start()
    server = web.Server(directory.handle, access_log=None)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    try:
        async with asyncio.timeout(30):
            yield Site(listener.sockets[0].getsockname()[1], directory)
    finally:
        listener.close()
        await server.shutdown(1)
        await directory.stop(1)


async def test_serves_files_with_their_facts(home: Path) -> None:
    async with site(home, welcome_file="index.html") as web_site:
        answer = await web_site.get("/")
        assert (answer.status, answer.body) == (200, b"<p>welcome")
        assert answer.fields["content-type"] == "text/html; charset=utf-8"
        assert answer.fields["content-length"] == "10"
        assert answer.fields["x-content-type-options"] == "nosniff"
        assert re.fullmatch(r'"[0-9a-f-]+"', answer.fields["etag"])
        modified = (home / "web/base/index.html").stat().st_mtime
        assert answer.fields["last-modified"] == formatdate(int(modified), usegmt=True)
        for target, body in {
            "/index.html": b"<p>welcome",
            "/index.html?x=/../": b"<p>welcome",
            "/in.html": b"<p>welcome",
            "/sub/a%20b&c.txt": b"text",
            "/sub/caf%C3%A9.json": b"{}",
            "/.well-known/ok": b"ok",
            "/empty": b"",
            "/100%25.txt": b"percent",
            "http://h:8000/index.html": b"<p>welcome",
        }.items():
            answer = await web_site.get(target)
            assert (answer.status, answer.body) == (200, body), target


async def test_head_has_every_field_and_no_body(home: Path) -> None:
    (home / "web/base/large").write_bytes(bytes(2 * directory_reader.PIECE))
    async with site(home, options="indexes") as web_site:
        for target in ("/index.html", "/large", "/empty", "/sub/", "/nothing"):
            full, head = await web_site.get(target), await web_site.get(target, "HEAD")
            for answer in (full, head):
                answer.fields.pop("date")
            assert head.body == b""
            assert (head.status, head.fields) == (full.status, full.fields)
            assert full.fields["content-length"] == str(len(full.body))


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])
async def test_other_methods_are_refused(home: Path, method: str) -> None:
    async with site(home) as web_site:
        answer = await web_site.get("/index.html", method)
        assert answer.status == 405
        assert answer.fields["allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    "target",
    [
        "/..",
        "/../secret.txt",
        "/sub/../../secret.txt",
        "/sub/../index.html",
        "/./index.html",
        "/%2e%2e/secret.txt",
        "/.%2E/secret.txt",
        "/..%2fsecret.txt",
        "/sub%2fx",
        "/%252e%252e/secret.txt",
        "/%25252e%25252e/secret.txt",
        "/%252e%252e%252fsecret.txt",
        "/..%5csecret.txt",
        "/..%255csecret.txt",
        "/index.html%00",
        "/index.html%00.txt",
        "/%2500",
        "/%0d%0ax",
        "/%7f",
        "/%",
        "/%zz",
        "/%c0%ae%c0%ae/secret.txt",
        "/%ff",
    ],
)
async def test_paths_that_pretend_are_bad_requests(home: Path, target: str) -> None:
    async with site(home, options="indexes") as web_site:
        answer = await web_site.get(target)
        assert answer.status == 400
        assert b"secret" not in answer.body


@pytest.mark.parametrize(
    "target",
    [
        "/nothing",
        "/nothing/",
        "/index.html/",
        "/index.html/x",
        "/" + "x" * 300,
        "/" + "x/" * 3000,
        "//index.html",
        "//evil.example/..;/",
        "/sub//deep",
        "/out",
        "/out/",
        "/out/secret.txt",
        "/out.txt",
        "/sub/.hidden",
        "/.git/config",
        "/pipe",
        "/loop",
    ],
)
async def test_what_is_not_there_is_not_found(home: Path, target: str) -> None:
    os.mkfifo(home / "web/base/pipe")
    (home / "web/base/loop").symlink_to("loop")
    async with site(home, error_pages_directory="/error-pages", options="indexes") as web_site:
        answer = await web_site.get(target)
        assert (answer.status, answer.body) == (404, b"<p>my own 404")


async def test_a_folder_without_slash_is_redirected_below_its_accept(home: Path) -> None:
    (home / "web/base/sub/x&y").mkdir()
    async with site(home, "http://h:8000/docs") as web_site:
        for target, location in {
            "/docs": "/docs/",
            "/docs/sub": "/docs/sub/",
            "/docs/sub?a=b%20c": "/docs/sub/?a=b%20c",
            "/docs/sub/x%26y": "/docs/sub/x%26y/",
        }.items():
            answer = await web_site.get(target)
            assert (answer.status, answer.fields["location"]) == (302, location)
        assert (await web_site.get("/docs/index.html")).status == 200
        for target in ("/docsindex.html", "/index.html", "/"):
            assert (await web_site.get(target)).status == 404


async def test_several_accepts_serve_the_same_folder(home: Path) -> None:
    async with site(home, "http://a:80/docs/", "http://b:81/", welcome_file="index.html") as web_site:
        for target, host in (("/docs/", "a"), ("/docs/", "a:80"), ("/", "b:81"), ("/index.html", "b:81")):
            assert (await web_site.get(target, host=host)).status == 200
        assert (await web_site.get("/docs/", host="b:81")).status == 404
        assert (await web_site.get("/", host="a")).status == 404


async def test_a_file_that_the_client_has_is_not_sent_again(home: Path) -> None:
    async with site(home) as web_site:
        first = await web_site.get("/index.html")
        tag, when = first.fields["etag"], first.fields["last-modified"]
        for fields in (
            {"If_None_Match": tag},
            {"If_None_Match": f'"x", W/{tag}'},
            {"If_None_Match": "*"},
            {"If_Modified_Since": when},
            {"If_None_Match": tag, "If_Modified_Since": "Mon, 01 Jan 1990 00:00:00 GMT"},
        ):
            answer = await web_site.get("/index.html", **fields)
            assert (answer.status, answer.body) == (304, b"")
            assert answer.fields["etag"] == tag
        for fields in (
            {"If_None_Match": '"other"'},
            {"If_None_Match": '"other"', "If_Modified_Since": when},
            {"If_Modified_Since": "Mon, 01 Jan 1990 00:00:00 GMT"},
            {"If_Modified_Since": "nonsense"},
        ):
            assert (await web_site.get("/index.html", **fields)).status == 200
        (home / "web/base/index.html").write_text("<p>changed")
        os.utime(home / "web/base/index.html", (1, 1))
        assert (await web_site.get("/index.html", If_None_Match=tag)).status == 200


async def test_one_range(home: Path) -> None:
    async with site(home) as web_site:
        whole = await web_site.get("/sub/a%20b&c.txt")
        assert whole.fields["accept-ranges"] == "bytes"
        answer = await web_site.get("/sub/a%20b&c.txt", Range="bytes=1-2")
        assert (answer.status, answer.body) == (206, b"ex")
        assert answer.fields["content-range"] == "bytes 1-2/4"
        assert answer.fields["content-length"] == "2"
        for name in ("etag", "last-modified", "content-type", "x-content-type-options"):
            assert answer.fields[name] == whole.fields[name]
        answer = await web_site.get("/sub/a%20b&c.txt", Range="bytes=1-2", If_Range='"other"')
        assert (answer.status, answer.body) == (200, b"text")
        answer = await web_site.get("/sub/a%20b&c.txt", "HEAD", Range="bytes=1-2")
        assert (answer.status, answer.fields["content-length"]) == (200, "4")
        answer = await web_site.get("/empty", Range="bytes=-5")
        assert (answer.status, answer.body) == (200, b"")


async def test_a_range_that_does_not_exist(home: Path) -> None:
    async with site(home) as web_site:
        answer = await web_site.get("/index.html", Range="bytes=10-")
        assert answer.status == 416
        assert answer.fields["content-range"] == "bytes */10"
        assert b"welcome" not in answer.body


def parts_of(answer: Answer) -> list[tuple[str, str, bytes]]:
    """Read a multipart/byteranges answer by the letter: type, content range and bytes of each part."""
    found = re.fullmatch(r"multipart/byteranges; boundary=(\S+)", answer.fields["content-type"])
    assert found
    marker = b"--" + found[1].encode()
    assert answer.body.startswith(marker + b"\r\n")
    assert answer.body.endswith(b"\r\n" + marker + b"--\r\n")
    assert answer.fields["content-length"] == str(len(answer.body))
    parts = []
    for part in answer.body[: -len(marker) - 6].split(marker + b"\r\n")[1:]:
        head, _, body = part.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        parts.append((fields["Content-Type"], fields["Content-Range"], body.removesuffix(b"\r\n")))
    return parts


async def test_several_ranges(home: Path) -> None:
    size = 3 * directory_reader.PIECE + 7
    content = os.urandom(size)
    (home / "web/base/large.bin").write_bytes(content)
    async with site(home) as web_site:
        answer = await web_site.get("/large.bin", Range="bytes=5-9, 100-600000, -1, 99999999-")
        assert answer.status == 206
        assert "content-range" not in answer.fields
        kind = "application/octet-stream"
        assert parts_of(answer) == [
            (kind, f"bytes 5-9/{size}", content[5:10]),
            (kind, f"bytes 100-600000/{size}", content[100:600001]),
            (kind, f"bytes {size - 1}-{size - 1}/{size}", content[-1:]),
        ]
        answer = await web_site.get("/large.bin", Range=f"bytes=700000-{size}")
        assert answer.body == content[700000:]


async def test_a_request_that_holds_for_another_version_only(home: Path) -> None:
    async with site(home) as web_site:
        tag = (await web_site.get("/index.html")).fields["etag"]
        for method in ("GET", "HEAD"):
            assert (await web_site.get("/index.html", method, If_Match=f'"x", {tag}')).status == 200
            assert (await web_site.get("/index.html", method, If_Match='"x"')).status == 412
            answer = await web_site.get(
                "/index.html", method, If_Unmodified_Since="Mon, 01 Jan 1990 00:00:00 GMT"
            )
            assert answer.status == 412


async def test_a_field_that_comes_twice_is_one_list(home: Path) -> None:
    async with site(home) as web_site:
        tag = (await web_site.get("/index.html")).fields["etag"]
        twice = f'"x"\r\nIf-None-Match: {tag}'
        assert (await web_site.get("/index.html", If_None_Match=twice)).status == 304


async def test_precompressed_files(home: Path) -> None:
    base = home / "web/base"
    (base / "index.html.gz").write_bytes(b"gzipped")
    (base / "index.html.br").write_bytes(b"brotli!!")
    async with site(home, welcome_file="index.html") as web_site:
        plain = await web_site.get("/")
        assert plain.body == b"<p>welcome"
        assert "content-encoding" not in plain.fields
        small = await web_site.get("/", Accept_Encoding="gzip, deflate")
        assert (small.status, small.body) == (200, b"gzipped")
        assert small.fields["content-encoding"] == "gzip"
        assert small.fields["content-type"] == plain.fields["content-type"] == "text/html; charset=utf-8"
        assert small.fields["content-length"] == "7"
        best = await web_site.get("/index.html", Accept_Encoding="gzip;q=0.9, br")
        assert (best.body, best.fields["content-encoding"]) == (b"brotli!!", "br")
        assert len({answer.fields["etag"] for answer in (plain, small, best)}) == 3
        unchanged = await web_site.get("/", Accept_Encoding="gzip", If_None_Match=small.fields["etag"])
        assert unchanged.status == 304
        assert (await web_site.get("/", If_None_Match=small.fields["etag"])).status == 200
        for answer in (plain, small, best, unchanged):
            assert answer.fields["vary"] == "Accept-Encoding"
        part = await web_site.get("/", Accept_Encoding="gzip", Range="bytes=1-3")
        assert (part.body, part.fields["content-range"]) == (b"zip", "bytes 1-3/7")
        assert "vary" not in (await web_site.get("/empty", Accept_Encoding="gzip")).fields


async def test_caches_are_told_by_pattern(home: Path) -> None:
    locations = [
        {"patterns": "**/*.html sub/*", "cache-control": "max-age=100"},
        {"patterns": "**/*.json", "cache-control": "public, max-age=m+1000"},
    ]
    os.utime(home / "web/base/sub/caf\u00e9.json", (1, 1))
    async with site(home, welcome_file="index.html", location=locations) as web_site:
        first = await web_site.get("/")
        assert first.fields["cache-control"] == "max-age=100"
        again = await web_site.get("/", If_None_Match=first.fields["etag"])
        assert again.fields["cache-control"] == "max-age=100"
        answer = await web_site.get("/sub/caf%C3%A9.json", Range="bytes=0-0")
        assert answer.fields["cache-control"] in ("public, max-age=0", "max-age=0, public", "max-age=100")
        assert "cache-control" not in (await web_site.get("/empty")).fields
        assert (await web_site.get("/nothing.html")).fields["cache-control"] == "no-cache"


async def test_the_age_counts_from_the_change_of_the_file(home: Path) -> None:
    path = home / "web/base/index.html"
    locations = [{"patterns": "*", "cache-control": "max-age=m+1000"}]
    async with site(home, location=locations) as web_site:
        for age, least, most in ((0, 900, 1000), (500, 400, 500), (5000, 0, 0)):
            when = time.time() - age
            os.utime(path, (when, when))
            control = (await web_site.get("/index.html")).fields["cache-control"]
            assert least <= int(control.removeprefix("max-age=")) <= most


async def test_links_are_followed_out_only_if_told_so(home: Path) -> None:
    async with site(home, symbolic_links="follow") as web_site:
        assert (await web_site.get("/out.txt")).body == b"secret"
        assert (await web_site.get("/out/secret.txt")).body == b"secret"
        assert (await web_site.get("/..%2fsecret.txt")).status == 400


async def test_types_by_mapping(home: Path) -> None:
    mapping = MimeMapping.model_validate({"extension": "HTML", "mime-type": "text/x-mine"})
    served = service().model_copy(update={"mime_mappings": (mapping,)})
    async with site(home, served=served) as web_site:
        assert (await web_site.get("/index.html")).fields["content-type"] == "text/x-mine"


async def test_a_listing_shows_what_can_be_had_and_nothing_else(home: Path) -> None:
    base = home / "web/base"
    (base / "sub" / "<b onclick='x'>.txt").write_text("x")
    (base / "sub" / "javascript:alert(1)").write_text("x")
    (base / "sub" / "z.out").symlink_to(home / "web/secret.txt")
    (base / "sub" / "broken").symlink_to("nowhere")
    async with site(home, options="indexes") as web_site:
        answer = await web_site.get("/sub/")
        text = answer.body.decode()
        assert answer.status == 200
        assert answer.fields["content-type"] == "text/html; charset=utf-8"
        assert "<title>Index of /sub/</title>" in text
        assert "<b onclick" not in text
        assert "&lt;b onclick=&#x27;x&#x27;&gt;.txt" in text
        for unwanted in (".hidden", "z.out", "broken"):
            assert unwanted not in text
        links = re.findall(r'href="([^"]*)"', text)
        assert links[:2] == ["../", "./deep/"]
        for link in links[1:]:
            assert link.startswith("./")
            assert (await web_site.get("/sub/" + link[2:])).status == 200, link
        top = (await web_site.get("/")).body.decode()
        assert "../" not in top
        assert 'href="./out' not in top


async def test_a_listing_is_bounded(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory_tree, "MAXIMUM_LISTED", 10)
    for number in range(25):
        (home / "web/base/sub/deep" / f"{number:02}").touch()
    async with site(home, options="indexes") as web_site:
        text = (await web_site.get("/sub/deep/")).body.decode()
        assert text.count("<tr><td><a") == 11
        assert "15 more names" in text


async def test_without_indexes_a_folder_is_forbidden(home: Path) -> None:
    async with site(home, welcome_file="index.html") as web_site:
        answer = await web_site.get("/sub/")
        assert answer.status == 403
        assert b"403 Forbidden" in answer.body
        assert b"caf" not in answer.body


async def test_a_welcome_file_that_leads_out_is_not_served(home: Path) -> None:
    async with site(home, welcome_file="out.txt", options="indexes") as web_site:
        assert (await web_site.get("/")).status == 404


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
async def test_a_file_that_may_not_be_read_is_forbidden(home: Path) -> None:
    (home / "web/base/index.html").chmod(0)
    async with site(home) as web_site:
        assert (await web_site.get("/index.html")).status == 403


async def test_a_failing_disk_is_told_and_logged(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*arguments: object) -> object:
        raise OSError(5, "Input/output error")

    async with site(home) as web_site:
        monkeypatch.setattr(directory_tree.Tree, "look", fail)
        assert (await web_site.get("/index.html")).status == 500
        assert "Input/output error" in caplog.text
        await web_site.served.stop(0)
        assert (await web_site.get("/index.html")).status == 503


async def test_large_files_arrive_whole_in_bounded_pieces(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = os.urandom(1 << 20) * 8 + b"end"
    (home / "web/base/large.bin").write_bytes(content)
    sizes: list[int] = []
    read = File.read

    def spy(file: File, start: int, size: int) -> bytes:
        piece = read(file, start, size)
        sizes.append(len(piece))
        return piece

    monkeypatch.setattr(File, "read", spy)
    async with site(home) as web_site:
        answer = await web_site.get("/large.bin")
        assert answer.fields["content-length"] == str(len(content))
        assert answer.body == content
        assert max(sizes) == directory_reader.PIECE
        assert sum(sizes) == len(content)


async def test_a_slow_reader_is_not_read_ahead_for(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = 64 << 20
    with open(home / "web/base/large.bin", "wb") as file:  # noqa: ASYNC230
        file.truncate(size)
    sent = 0
    read = File.read

    def spy(file: File, start: int, size: int) -> bytes:
        nonlocal sent
        piece = read(file, start, size)
        sent += len(piece)
        return piece

    monkeypatch.setattr(File, "read", spy)
    async with site(home) as web_site:
        reader, writer = await asyncio.open_connection("127.0.0.1", web_site.port)
        writer.write(b"GET /large.bin HTTP/1.1\r\nHost: h:8000\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        before = -1
        while sent != before:
            before = sent
            await asyncio.sleep(0.1)
        assert sent < size // 2
        await reader.readexactly(size)
        assert sent == size
        writer.close()


def resizing(path: Path, size: int) -> Callable[[File, int, int], bytes]:
    """Return a `File.read` that changes the file's size after each piece."""
    read = File.read

    def read_and_resize(file: File, start: int, length: int) -> bytes:
        piece = read(file, start, length)
        os.truncate(path, size)
        return piece

    return read_and_resize


@pytest.mark.parametrize("length", [1000, 4 * directory_reader.PIECE])
async def test_a_file_that_shrinks_ends_the_connection_early(
    home: Path, monkeypatch: pytest.MonkeyPatch, length: int, caplog: pytest.LogCaptureFixture
) -> None:
    path = home / "web/base/log.txt"
    path.write_bytes(bytes(length))
    if length < directory_reader.PIECE:
        os_fstat = os.fstat

        def grown(descriptor: int) -> os.stat_result:
            facts = os_fstat(descriptor)
            os.truncate(path, length // 2)
            return facts

        monkeypatch.setattr(os, "fstat", grown)
    monkeypatch.setattr(File, "read", resizing(path, length // 2 + 3))
    async with site(home) as web_site:
        received = b""
        with contextlib.suppress(ConnectionError):
            received = (await web_site.get("/log.txt")).body
        assert len(received) < length
        assert "became shorter" in caplog.text


async def test_a_file_that_grows_is_sent_as_it_was_promised(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = home / "web/base/log.txt"
    length = 4 * directory_reader.PIECE
    path.write_bytes(b"x" * length)
    monkeypatch.setattr(File, "read", resizing(path, 2 * length))
    async with site(home) as web_site:
        answer = await web_site.get("/log.txt")
        assert answer.fields["content-length"] == str(length)
        assert answer.body == b"x" * length


async def test_a_client_that_takes_nothing_is_given_up(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with open(home / "web/base/large.bin", "wb") as file:  # noqa: ASYNC230
        file.truncate(64 << 20)
    monkeypatch.setattr(directory, "STALL_TIMEOUT", 0.2)
    async with site(home) as web_site:
        reader, writer = await asyncio.open_connection("127.0.0.1", web_site.port)
        writer.write(b"GET /large.bin HTTP/1.1\r\nHost: h:8000\r\n\r\n")
        await asyncio.sleep(1)
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await reader.readexactly(64 << 20)
        assert "took nothing" in caplog.text
        writer.close()


async def test_files_are_closed(home: Path) -> None:
    (home / "web/base/large.bin").write_bytes(bytes(1 << 20))
    async with site(home, welcome_file="index.html", options="indexes") as web_site:
        await web_site.get("/")
        before = set(os.listdir("/proc/self/fd"))
        for target in ("/", "/large.bin", "/sub/", "/sub", "/nothing"):
            tag = (await web_site.get(target)).fields.get("etag", '"x"')
            await web_site.get(target, "HEAD")
            await web_site.get(target, If_None_Match=tag)
        assert len(set(os.listdir("/proc/self/fd"))) <= len(before)


@pytest.mark.parametrize(
    ("properties", "said"),
    [
        ({"directory": "/missing"}, "web/missing does not exist"),
        ({"directory": "/secret.txt"}, "web/secret.txt is not a folder"),
    ],
)
async def test_start_says_what_is_wrong(home: Path, properties: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        await DirectoryService(service(**properties), home).start()
    assert said in str(raised.value)
    assert "files" in str(raised.value)
    assert raised.value.hint


async def test_start_hints_at_the_home(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as raised:
        await DirectoryService(service(), tmp_path / "nowhere").start()
    assert "isthmus init DIR" in raised.value.hint
    assert "GATEWAY_HOME" in raised.value.hint


async def test_missing_error_pages_are_warned_about(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with site(home, error_pages_directory="/no-pages") as web_site:
        assert "no-pages does not exist" in caplog.text
        answer = await web_site.get("/nothing")
        assert answer.status == 404
        assert b"404 Not Found" in answer.body
