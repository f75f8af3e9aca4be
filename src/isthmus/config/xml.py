"""A Kaazing gateway-config in XML -> `Document`.

Kaazing's eight namespaces mean the same to isthmus, and elements come in any order. XML is read as plain
data: a DOCTYPE, an entity of one's own or a processing instruction is refused before a parser sees it.
"""

from __future__ import annotations

import re
from itertools import takewhile

from lxml import etree

from isthmus.config.document import MAXIMUM_DEPTH, MAXIMUM_ELEMENTS, Document, Node, refuse
from isthmus.config.nearest import nearest
from isthmus.config.units import printable, shown

NAMESPACES = (
    "http://xmlns.kaazing.com/gateway-config/dragonfire",
    "http://xmlns.kaazing.com/gateway-config/excalibur",
    "http://xmlns.kaazing.com/2012/03/gateway",
    "http://xmlns.kaazing.com/2012/08/gateway",
    "http://xmlns.kaazing.com/2012/09/gateway",
    "http://xmlns.kaazing.org/2014/09/gateway",
    "http://xmlns.kaazing.org/2015/11/gateway",
    "http://xmlns.kaazing.org/2016/06/gateway",
)
ROOT = "gateway-config"
_SCHEMA_LOCATION = "{http://www.w3.org/2001/XMLSchema-instance}schemaLocation"

# What may hold any text, and how each ends.
_OPAQUE = {"<!--": "-->", "<![CDATA[": "]]>"}
_XML_DECLARATION = re.compile(r"\s*<\?xml\s[^>]*\?>")


def read(file: str, text: str) -> Document:
    """Read the text of a file. Raises `ConfigurationError` where it is not XML, or not a gateway-config."""
    root = _parse(file, _plain(file, text))
    namespace, name = _split(root.tag)
    line = _line(root)
    if name != ROOT:
        raise refuse(file, line, "is not a gateway configuration", f"<{ROOT}> as the outermost element", name)
    if namespace not in NAMESPACES:
        what = f"unknown namespace {shown(namespace)}" if namespace else "the element has no namespace"
        near = nearest(namespace, NAMESPACES)
        raise refuse(file, line, what, "\n             ".join(NAMESPACES), name, near)
    document = Document(file, Node(name, line, name))
    _Reader(document, namespace).section(root, document.root, 1)
    _properties(document)
    return document


def _plain(file: str, text: str) -> str:
    """Return `text` without its XML declaration, lines unmoved; refuse what only a hostile or mistaken file
    has.
    """
    declaration = _XML_DECLARATION.match(text)
    if declaration:
        text = "\n" * declaration[0].count("\n") + text[declaration.end() :]
    elements = 0
    position = text.find("<")
    while position >= 0:
        opening = next((opening for opening in _OPAQUE if text.startswith(opening, position)), None)
        if opening:
            end = text.find(_OPAQUE[opening], position + len(opening))
            if end < 0:
                break  # the parser says it better
            position = end
        elif text.startswith("<?", position):
            line = text.count("\n", 0, position) + 1
            raise refuse(file, line, "a processing instruction (<?...?>) is not allowed", "remove it")
        elif text.startswith("<!", position):
            line = text.count("\n", 0, position) + 1
            word = "".join(takewhile(str.isalpha, text[position + 2 : position + 20])).upper()
            what = f"<!{word} is not allowed: no document type and no entities"
            allowed = "remove it; a value used twice goes to <properties> and is written ${name}"
            raise refuse(file, line, what, allowed)
        elif not text.startswith("</", position):
            elements += 1
        position = text.find("<", position + 1)
    if elements > MAXIMUM_ELEMENTS:
        raise refuse(file, 0, f"has {elements} elements, which is too many", f"at most {MAXIMUM_ELEMENTS}")
    return text


def _parse(file: str, text: str) -> etree._Element:
    parser = etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        return etree.fromstring(text.encode("utf-8"), parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        line = getattr(error, "lineno", 0) or 0
        # The parser's words, which may quote the file: one line of it, and nothing a terminal would obey.
        reason = (str(getattr(error, "msg", None) or error).splitlines() or [""])[0][:200]
        reason = re.sub(r", line \d+, column (\d+).*", r" (column \1)", reason).strip()
        reason = "".join(character if character.isprintable() else "?" for character in reason)
        if "Excessive depth" in reason:
            raise refuse(
                file, line, "elements are nested too deeply", f"at most {MAXIMUM_DEPTH} levels"
            ) from error
        raise refuse(file, line, f"is not well-formed XML: {reason}") from error


def _split(tag: str) -> tuple[str, str]:
    namespace, _, name = tag[1:].partition("}") if tag.startswith("{") else ("", "", tag)
    return namespace, name


def _line(element: etree._Element) -> int:
    line: int | None = element.sourceline  # type: ignore[assignment, unused-ignore]
    return line or 1


class _Reader:
    """Turns elements into nodes; collects what it objects to in `document.problems`."""

    def __init__(self, document: Document, namespace: str) -> None:
        self._document = document
        self._namespace = namespace

    def section(self, element: etree._Element, node: Node, depth: int) -> None:
        """Fill `node` with the children or the text of `element`."""
        for name in element.attrib:
            if not (name == _SCHEMA_LOCATION and depth == 1):
                self._document.wrong(
                    node,
                    f"unknown attribute {shown(_split(str(name))[1])}",
                    "no attributes; write it as an element",
                )
        for child in element:
            if not isinstance(child.tag, str):  # an entity reference that is left as it is
                self._document.wrong(
                    node, f"{shown(child.text)} is not allowed", "text, and &lt; &gt; &amp; &quot; &apos;"
                )
                continue
            namespace, name = _split(child.tag)
            below = Node(
                name, _line(child), f"{node.path}/{printable(name)}" if depth > 1 else printable(name)
            )
            if namespace != self._namespace:
                self._document.wrong(
                    below, f"the namespace is {shown(namespace)}", f"{self._namespace}, as the root has"
                )
            elif depth >= MAXIMUM_DEPTH:
                self._document.wrong(
                    below, "elements are nested too deeply", f"at most {MAXIMUM_DEPTH} levels"
                )
            else:
                self.section(child, below, depth + 1)
                node.children.append(below)
        text = "".join(filter(None, (element.text, *(child.tail for child in element))))
        text = " ".join(text.split())
        if len(element) == 0:
            node.value = text
        elif text:
            self._document.wrong(node, f"text between elements: {shown(text)}", "elements only")


def _properties(document: Document) -> None:
    """Rewrite `properties/property/{name,value}` as one leaf for each property, which is what TOML has."""

    for section in (node for node in document.root.children if node.name == "properties"):
        leaves: list[Node] = []
        for node in section.children:
            if node.name != "property":
                document.wrong(node, f"{shown(node.name)} is not known here", "property")
                continue
            for child in node.children:
                if child.name not in ("name", "value"):
                    document.wrong(child, f"{shown(child.name)} is not known here", "name, value")
            names = [child for child in node.children if child.name == "name"]
            values = [child for child in node.children if child.name == "value"]
            if len(names) != 1 or len(values) != 1 or not names[0].value or values[0].value is None:
                document.wrong(
                    node,
                    "a property has one name and one value",
                    "<name>gateway.port</name><value>8000</value>",
                )
                continue
            leaves.append(Node(str(names[0].value), names[0].line, node.path, values[0].value))
        section.children = leaves
        if section.value:
            document.wrong(section, f"text between elements: {shown(section.value)}", "property")
        section.value = None
