"""The tree, on a real folder with a canary beside it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.services import directory_tree
from isthmus.services.directory_pages import Listing
from isthmus.services.directory_paths import Redirect, Refused, split_path
from isthmus.services.directory_tree import File, Tree

CANARY = b"the canary is outside"


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as made:
        outside = Path(made).resolve()
        root = outside / "root"
        (root / "a" / "b").mkdir(parents=True)
        (outside / "canary").write_bytes(CANARY)
        (outside / "rootcanary").write_bytes(CANARY)
        (outside / "out").mkdir()
        (outside / "out" / "canary").write_bytes(CANARY)
        (outside / "out" / "canary.gz").write_bytes(CANARY)
        (root / "f").write_bytes(b"inside")
        (root / "a" / "f").write_bytes(b"inside")
        (root / "a" / "b" / "f").write_bytes(b"inside")
        (root / ".env").write_bytes(CANARY)
        (root / "a" / ".git").mkdir()
        (root / "a" / ".git" / "canary").write_bytes(CANARY)
        (root / "link").symlink_to("f")
        (root / "a" / "up").symlink_to("..")
        (root / "canary").symlink_to("../canary")
        (root / "absolute").symlink_to(outside / "canary")
        (root / "out").symlink_to("../out")
        (root / "a" / "twice").symlink_to("../out/canary")
        (root / "f.gz").symlink_to("../canary")
        (root / "loop").symlink_to("loop")
        (root / "etc").symlink_to("/etc")
        (root / "sibling").symlink_to("../rootcanary")
        os.mkfifo(root / "pipe")
        yield root


def content(tree: Tree, path: str, *codings: str) -> bytes:
    file = tree.look(*split_path(path), codings)
    assert isinstance(file, File)
    with file.handle:
        return file.read(0, file.size)


PIECES = [
    *("/", "/", "/", "..", ".", "...", "%2e", "%2E", "%252e", "%2f", "%5c", "%255c", "\\", "%00", "\x00"),
    *("%c0%ae", "%c0%af", "%e0%80%ae", "a", "b", "f", "up", "out", "canary", "root", "rootcanary", "twice"),
    *("absolute", "link", "etc", "passwd", ".env", ".git", ".gz", "loop", "pipe", "sibling", "C:", "~"),
    *(";", "?", "#", "*", "%20"),
]


@settings(max_examples=600)
@given(
    st.lists(st.sampled_from(PIECES), max_size=12).map("".join),
    st.booleans(),
    st.sampled_from([(), ("gzip", "br", "zstd")]),
)
def test_nothing_outside_is_ever_read(root: Path, text: str, indexes: bool, codings: tuple[str, ...]) -> None:
    tree = Tree(str(root), "f", indexes)
    try:
        found = tree.look(*split_path("/" + text), codings)
    except (Redirect, Refused, OSError):
        return
    if isinstance(found, Listing):
        assert {entry.name for entry in found.entries} <= {"a", "b", "f", "link", "up"}
    else:
        with found.handle:
            assert found.read(0, 100) == b"inside"


def test_links_that_stay_inside_are_followed(root: Path) -> None:
    for path in ("/f", "/link", "/a/up/f", "/a/up/a/up/link"):
        assert content(Tree(str(root)), path) == b"inside"


@pytest.mark.parametrize(
    "path", ["/canary", "/absolute", "/out/canary", "/a/twice", "/sibling", "/a/up/canary"]
)
def test_links_that_lead_out_are_followed_only_if_told_so(root: Path, path: str) -> None:
    with pytest.raises(Refused) as refused:
        Tree(str(root)).look(*split_path(path))
    assert refused.value.status == 404
    assert content(Tree(str(root), follow=True), path) == CANARY


def test_hidden_names_stay_hidden_also_when_links_are_followed(root: Path) -> None:
    for path in ("/.env", "/a/.git/canary"):
        with pytest.raises(Refused):
            Tree(str(root), follow=True).look(*split_path(path))


def test_a_listing_has_what_can_be_had(root: Path) -> None:
    def names(tree: Tree) -> list[str]:
        found = tree.look((), True)
        assert isinstance(found, Listing)
        return [entry.name for entry in found.entries]

    assert names(Tree(str(root), indexes=True)) == ["a", "f", "link"]
    follow = names(Tree(str(root), indexes=True, follow=True))
    assert follow == ["a", "etc", "out", "absolute", "canary", "f", "f.gz", "link", "sibling"]


def test_a_listing_is_bounded(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory_tree, "MAXIMUM_LISTED", 2)
    found = Tree(str(root), indexes=True, follow=True).look((), True)
    assert isinstance(found, Listing)
    assert len(found.entries) == 2
    assert found.left_out > 0


# -- precompressed --


@pytest.fixture
def site(tmp_path: Path) -> Path:
    for name in ("x.css", "x.css.gz", "x.css.br", "y.css", "y.css.gz", "z.css"):
        (tmp_path / name).write_text(name)
        os.utime(tmp_path / name, (1000, 1000))
    return tmp_path.resolve()


def opened(root: Path, name: str, *codings: str) -> File:
    file = Tree(str(root)).look((name,), False, codings)
    assert isinstance(file, File)
    file.handle.close()
    return file


def test_the_best_coding_that_there_is_is_taken(site: Path) -> None:
    assert content(Tree(str(site)), "/x.css", "zstd", "br", "gzip") == b"x.css.br"
    assert content(Tree(str(site)), "/x.css", "gzip", "br") == b"x.css.gz"
    assert content(Tree(str(site)), "/y.css", "zstd", "br", "gzip") == b"y.css.gz"
    assert content(Tree(str(site)), "/x.css") == b"x.css"
    assert content(Tree(str(site)), "/z.css", "gzip") == b"z.css"
    assert content(Tree(str(site)), "/x.css.gz", "gzip") == b"x.css.gz"


def test_each_form_has_its_own_tag_and_the_time_of_the_original(site: Path) -> None:
    os.utime(site / "x.css.gz", (2000, 2000))
    forms = [opened(site, "x.css"), opened(site, "x.css", "gzip"), opened(site, "x.css", "br")]
    assert [form.coding for form in forms] == ["", "gzip", "br"]
    assert len({form.tag for form in forms}) == 3
    assert {form.modified for form in forms} == {1000 * 10**9}
    assert all(form.varies and form.names == ("x.css",) for form in forms)
    assert not opened(site, "z.css", "gzip").varies


def test_a_form_changes_its_tag_with_the_original(site: Path) -> None:
    before = opened(site, "x.css", "gzip").tag
    (site / "x.css").write_text("changed")
    os.utime(site / "x.css", (1000, 1000))
    assert opened(site, "x.css", "gzip").tag != before


def test_a_form_older_than_its_original_is_not_believed(site: Path) -> None:
    os.utime(site / "x.css", (1001, 1001))
    file = opened(site, "x.css", "gzip", "br")
    assert (file.coding, file.varies) == ("", False)


def test_a_form_outside_or_no_file_is_not_taken(site: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside") / "canary"
    outside.write_bytes(CANARY)
    (site / "z.css.gz").symlink_to(outside)
    (site / "z.css.br").mkdir()
    assert content(Tree(str(site)), "/z.css", "br", "gzip") == b"z.css"
    with pytest.raises(FileNotFoundError):
        opened(site, "none.css", "gzip")


def test_a_form_without_its_original_is_not_the_original(site: Path) -> None:
    (site / "x.css").unlink()
    with pytest.raises(FileNotFoundError):
        opened(site, "x.css", "gzip")


def test_a_welcome_file_may_be_below(tmp_path: Path) -> None:
    (tmp_path / "en").mkdir()
    (tmp_path / "en" / "index.html").write_text("welcome")
    file = Tree(str(tmp_path.resolve()), "en/index.html").look((), True)
    assert isinstance(file, File)
    file.handle.close()
    assert file.names == ("en", "index.html")
