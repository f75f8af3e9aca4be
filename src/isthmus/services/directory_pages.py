"""The pages that the `directory` service writes itself: the listing of a folder, and errors."""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import formatdate
from html import escape
from http import HTTPStatus
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a listing; `modified` is in seconds since 1970."""

    name: str
    folder: bool
    size: int
    modified: float


@dataclass(frozen=True, slots=True)
class Listing:
    """What a folder holds: folders first, then files, each by name; `left_out` counts names beyond the
    limit.
    """

    entries: tuple[Entry, ...]
    left_out: int


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


def error_page(status: int) -> bytes:
    """Return the page for a status, in HTML."""
    known = HTTPStatus(status)
    return _html(f"{status} {known.phrase}", f"<p>{escape(known.description or 'The request failed.')}</p>")


def listing_page(names: tuple[str, ...], listing: Listing, *, top: bool) -> bytes:
    """Return the listing of the folder at `names`, in HTML. At the `top` there is no way up."""
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


def _html(title: str, body: str) -> bytes:
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n<h1>{escape(title)}</h1>\n{body}\n</main>\n</body>\n</html>\n"
    ).encode()
