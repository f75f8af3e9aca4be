from __future__ import annotations

from isthmus.services.directory_pages import Entry, Listing, error_page, listing_page


def test_an_error_page_says_its_status() -> None:
    page = error_page(416).decode()
    assert "<title>416 " in page
    assert page.startswith("<!DOCTYPE html>")


def test_a_listing_escapes_names_and_stays_below() -> None:
    entries = (Entry("<i>", True, 0, 0.0), Entry('javascript:"&', False, 12345, 86400.0))
    page = listing_page(("a&b",), Listing(entries, 0), top=False).decode()
    assert "<title>Index of /a&amp;b/</title>" in page
    assert 'href="./%3Ci%3E/">&lt;i&gt;/</a>' in page
    assert 'href="./javascript%3A%22%26">javascript:&quot;&amp;</a>' in page
    assert "12,345" in page
    assert "02 Jan 1970 00:00" in page
    assert 'href="../"' in page


def test_a_listing_tells_what_it_leaves_out() -> None:
    page = listing_page((), Listing((), 3), top=True).decode()
    assert "This folder is empty" in page
    assert "3 more names" in page
    assert "../" not in page
