"""The table of cases: what the suite sends to a peer under test, and what must come back (RFC 6455).

`Frames` begins on an open WebSocket; `Request` is a client's handshake, sent to a server; `Answer` is a
server's, sent to a client; `Look` watches what the peer does of itself. Every frame and head that comes back
is checked by `wire.py` besides. Where the RFC allows several answers, all of them are allowed here.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.rfc6455.subjects import LIMIT, Role
from tests.rfc6455.wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Frame, close_body

BOTH: tuple[Role, ...] = ("server", "client")
SERVER: tuple[Role, ...] = ("server",)
CLIENT: tuple[Role, ...] = ("client",)

Value = str | tuple[str, ...] | None
Fields = tuple[tuple[str, Value], ...]


# --- what a case does


@dataclass(frozen=True)
class Send:
    """Send frames, in writes of `cut` bytes if that is not 0."""

    frames: tuple[Frame, ...]
    cut: int = 0


@dataclass(frozen=True)
class Echo:
    """This payload comes back in data frames, and nothing else does; how it is cut and typed is free."""

    data: bytes


@dataclass(frozen=True)
class Answered:
    """A pong with this payload comes. Pongs for earlier pings may have been left out (5.5.3)."""

    payload: bytes


@dataclass(frozen=True)
class Closed:
    """The closing handshake ends: a Close with one of `codes` (None: without), and then the connection.

    `before` is data whose beginning may come back before that.
    """

    codes: frozenset[int | None]
    before: bytes = b""


@dataclass(frozen=True)
class Failed:
    """The peer fails the connection: a Close with one of `codes`, or none at all, and no more is processed.

    `before` is the data that was good; the beginning of it may come back.
    """

    codes: frozenset[int | None]
    before: bytes = b""


Step = Send | Echo | Answered | Closed | Failed


@dataclass(frozen=True)
class Frames:
    """Steps on an open WebSocket. A closing handshake follows, unless the last step was one or failed."""

    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Request:
    """A client's handshake. `fields` replace those of a right one: None removes, a tuple repeats; `{host}`.

    Opens, or is refused with one of `refused`; both are allowed where both are given.
    """

    fields: Fields = ()
    method: str = "GET"
    target: str = "/echo"
    version: str = "HTTP/1.1"
    opens: bool = False
    refused: tuple[int, ...] = ()
    tells_version: bool = False
    names: str = ""  # "lower", "upper", or "reverse" for the order
    cut: int = 0


@dataclass(frozen=True)
class Answer:
    """A server's answer, which opens or makes the client fail. `fields` are as in `Request`, with `{accept}`,
    `{key}` and wrong forms of them."""

    fields: Fields = ()
    status: str = "HTTP/1.1 101 Switching Protocols"
    opens: bool = False
    names: str = ""
    cut: int = 0


@dataclass(frozen=True)
class Look:
    """One of the observations of test_conformance.py, which has the case's name."""


@dataclass(frozen=True)
class Case:
    """`sentence` is what the RFC's `section` demands, in our words; `roles` are of the peer under test."""

    id: str
    section: str
    sentence: str
    roles: tuple[Role, ...]
    script: Frames | Request | Answer | Look


CASES: list[Case] = []

PROTOCOL_ERROR = frozenset({1002, None})
INVALID_DATA = frozenset({1007, None})
TOO_BIG = frozenset({1009, None})
AFTER = Frame(TEXT, b"not to be processed")
HELLO = Frame(TEXT, b"hello")


def frames(id: str, section: str, sentence: str, *steps: Step, roles: tuple[Role, ...] = BOTH) -> None:
    CASES.append(Case(id, section, sentence, roles, Frames(steps)))


def echoes(id: str, section: str, sentence: str, *sent: Frame, cut: int = 0) -> None:
    data = b"".join(each.payload for each in sent if each.opcode < CLOSE)
    frames(id, section, sentence, Send(sent, cut), Echo(data))


def fails(
    id: str,
    section: str,
    sentence: str,
    *sent: Frame,
    codes: frozenset[int | None] = PROTOCOL_ERROR,
    before: bytes = b"",
    roles: tuple[Role, ...] = BOTH,
) -> None:
    frames(id, section, sentence, Send((*sent, AFTER)), Failed(codes, before), roles=roles)


def first(opcode: int, payload: bytes) -> Frame:
    return Frame(opcode, payload, fin=False)


def more(payload: bytes) -> Frame:
    return Frame(CONTINUATION, payload, fin=False)


def last(payload: bytes) -> Frame:
    return Frame(CONTINUATION, payload)


def filled(size: int) -> bytes:
    return (bytes(range(251)) * (size // 251 + 1))[:size]


# --- 5.1, 5.3: masks

for opcode, name in ((TEXT, "text"), (PING, "ping"), (CLOSE, "close")):
    wrong = Frame(opcode, b"", masked=False)
    fails(f"unmasked-{name}", "5.1", "a server closes upon an unmasked frame", wrong, roles=SERVER)
    wrong = Frame(opcode, b"", masked=True)
    fails(f"masked-{name}", "5.1", "a client closes upon a masked frame", wrong, roles=CLIENT)
for key in (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\xff\0\xff"):
    frames(
        f"mask-{key.hex()}", "5.3", "octet i is masked with octet i modulo 4 of whatever key",
        Send((Frame(BINARY, filled(1021), key=key),)), Echo(filled(1021)), roles=SERVER,
    )  # fmt: skip
_SIZES = tuple(Frame(BINARY, filled(size)) for size in range(1, 40))
echoes("masks-of-many-lengths", "5.3", "each frame has its own key and begins anew", *_SIZES)
echoes("masks-cut-anywhere", "5.3", "a key goes on over the cuts of the connection", *_SIZES[:12], cut=3)

# --- 5.2: reserved bits and opcodes, lengths

for rsv in range(1, 8):
    sent = Frame(TEXT, b"x", rsv=rsv)
    fails(f"rsv-{rsv}-text", "5.2", "a reserved bit without an extension fails", sent)
for opcode, name in ((BINARY, "binary"), (PING, "ping"), (PONG, "pong"), (CLOSE, "close")):
    sent = Frame(opcode, b"", rsv=4)
    fails(f"rsv-4-{name}", "5.2", "a reserved bit without an extension fails", sent)
fails(
    "rsv-4-continuation", "5.2", "also a later fragment has no reserved bit", first(TEXT, b"x"),
    Frame(CONTINUATION, b"y", rsv=4), before=b"x",
)  # fmt: skip
for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
    fails(f"opcode-{opcode}", "5.2", "an unknown opcode fails", Frame(opcode, b"x"))
    fails(f"opcode-{opcode}-empty", "5.2", "an unknown opcode fails", Frame(opcode))
fails("opcode-3-inside", "5.2", "also inside a message", first(TEXT, b"x"), Frame(3, b"y"), before=b"x")
for size in (0, 1, 125, 126, 127, 128, 65535, 65536, LIMIT):
    echoes(
        f"length-{size}",
        "5.2",
        "a length has 7, 16 or 64 bits, in network order",
        Frame(BINARY, filled(size)),
    )
for size in (5, 126, 300):
    echoes(f"bytewise-{size}", "5.2", "frames may come in parts", Frame(BINARY, filled(size)), cut=1)
echoes("header-in-parts", "5.2", "a long header may come in parts", Frame(BINARY, filled(65536)), cut=4093)
echoes("many-in-one-write", "5.2", "frames may come together", *(Frame(TEXT, b"%d" % i) for i in range(200)))
_HUGE = Frame(BINARY, b"", form=64, announced=1 << 63)
fails(
    "length-highest-bit",
    "5.2",
    "the highest bit of a 64-bit length is 0",
    _HUGE,
    codes=PROTOCOL_ERROR | TOO_BIG,
)

# --- 5.4: fragments

for opcode, name in ((TEXT, "text"), (BINARY, "binary")):
    text = "fragmented messages are taken"
    echoes(f"fragments-{name}-two", "5.4", text, first(opcode, b"one "), last(b"two"))
    echoes(f"fragments-{name}-three", "5.4", text, first(opcode, b"a"), more(b"b"), last(b"c"))
    echoes(f"fragments-{name}-empty-first", "5.4", text, first(opcode, b""), last(b"x"))
    echoes(f"fragments-{name}-empty-between", "5.4", text, first(opcode, b"x"), more(b""), last(b"y"))
    echoes(f"fragments-{name}-empty-last", "5.4", text, first(opcode, b"x"), last(b""))
    echoes(f"fragments-{name}-all-empty", "5.4", text, first(opcode, b""), more(b""), last(b""))
    echoes(f"fragments-{name}-bytewise", "5.4", text, first(opcode, b"one "), last(b"two"), cut=1)
echoes(
    "fragments-many", "5.4", "fragments have any size, and keep their order", first(BINARY, filled(200)),
    *(more(filled(i)) for i in range(150)), last(b"end"),
)  # fmt: skip
echoes(
    "messages-in-turn", "6.2", "what follows the last fragment is a new message",
    first(TEXT, b"a"), last(b"b"), Frame(BINARY, b"c"), first(BINARY, b"d"), last(b"e"), Frame(TEXT, b"f"),
)  # fmt: skip
frames(
    "ping-inside-message", "5.4", "control frames are handled in the middle of a message",
    Send((first(TEXT, b"one "), Frame(PING, b"now"))), Answered(b"now"), Send((last(b"two"),)),
    Echo(b"one two"),
)  # fmt: skip
frames(
    "pings-between-all", "5.4", "control frames are handled in the middle of a message",
    Send((first(BINARY, b"a"), Frame(PING, b"1"), more(b"b"), Frame(PONG), Frame(PING, b"2"), last(b"c"))),
    Answered(b"2"), Echo(b"abc"),
)  # fmt: skip
frames(
    "close-inside-message", "5.4", "also Close is handled in the middle of a message",
    Send((first(TEXT, b""), Frame(CLOSE, close_body(1000)))), Closed(frozenset({1000, 1002, None})),
)  # fmt: skip
fails("continuation-alone", "5.4", "a continuation needs a message", last(b"x"))
fails("continuation-alone-unfinished", "5.4", "a continuation needs a message", more(b"x"), last(b"y"))
fails(
    "continuation-after-message", "5.4", "a continuation needs a message",
    Frame(TEXT, b"a"), last(b"b"), before=b"a",
)  # fmt: skip
fails(
    "continuation-after-fragments", "5.4", "a message ends with its last fragment",
    first(TEXT, b"a"), last(b"b"), last(b"c"), before=b"ab",
)  # fmt: skip
for opcode, name in ((TEXT, "text"), (BINARY, "binary")):
    sent = Frame(opcode, b"new")
    fails(f"interleaved-{name}", "5.4", "messages are not interleaved", first(TEXT, b"a"), sent, before=b"a")
    sent = first(opcode, b"new")
    fails(
        f"interleaved-{name}-first",
        "5.4",
        "messages are not interleaved",
        first(BINARY, b"a"),
        sent,
        before=b"a",
    )

# --- 5.5: control frames

for opcode, name in ((CLOSE, "close"), (PING, "ping"), (PONG, "pong")):
    body = close_body(1000) if opcode == CLOSE else b""
    fails(f"fragmented-{name}", "5.5", "a control frame is not fragmented", Frame(opcode, body, fin=False))
    sent = Frame(opcode, body + b"x" * (126 - len(body)))
    fails(f"long-{name}", "5.5", "a control frame has 125 bytes at most", sent)
    sent = Frame(opcode, body + b"x" * 70000)
    fails(
        f"huge-{name}", "5.5", "a control frame has 125 bytes at most", sent, codes=PROTOCOL_ERROR | TOO_BIG
    )
for payload in (b"", b"x", filled(125), b"\xff\xfe not UTF-8"):
    frames(
        f"ping-{len(payload)}", "5.5.2", "a ping is answered by a pong with the same payload",
        Send((Frame(PING, payload),)), Answered(payload),
    )  # fmt: skip
frames(
    "ping-bytewise", "5.5.2", "also a ping in parts is answered", Send((Frame(PING, filled(99)),), cut=1),
    Answered(filled(99)),
)  # fmt: skip
frames(
    "pings-many", "5.5.3", "of several pings the most recent at least is answered",
    Send(tuple(Frame(PING, b"%d" % i) for i in range(50))), Answered(b"49"),
)  # fmt: skip
for payload in (b"", b"unasked", filled(125)):
    echoes(
        f"pong-unsolicited-{len(payload)}", "5.5.3", "a pong nobody asked for is not answered",
        Frame(PONG, payload), HELLO,
    )  # fmt: skip

# --- 5.5.1, 7: Close

for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999):
    frames(
        f"close-{code}", "5.5.1", "a Close is answered by a Close, and the connection ends",
        Send((Frame(CLOSE, close_body(code)),)), Closed(frozenset({code, 1000, None})),
    )  # fmt: skip
frames(
    "close-empty", "5.5.1", "a Close without a code is answered", Send((Frame(CLOSE),)),
    Closed(frozenset({1000, 1005, None})),
)  # fmt: skip
for reason, name in ((b"why", "reason"), ("größe €".encode(), "utf8"), (b"r" * 123, "longest")):
    frames(
        f"close-{name}", "5.5.1", "a Close may have a reason in UTF-8",
        Send((Frame(CLOSE, close_body(1000, reason)),)), Closed(frozenset({1000, None})),
    )  # fmt: skip
frames(
    "close-bytewise", "5.5.1", "a Close may come in parts",
    Send((Frame(CLOSE, close_body(1000, b"bye")),), cut=1), Closed(frozenset({1000, None})),
)  # fmt: skip
frames(
    "close-after-data", "5.5.1", "a Close may follow data at once",
    Send((HELLO, Frame(BINARY, b" there"), Frame(CLOSE, close_body(1000)))),
    Closed(frozenset({1000, None}), before=b"hello there"),
)  # fmt: skip
frames(
    "close-then-more", "5.5.1", "what comes behind a Close is not processed",
    Send((Frame(CLOSE, close_body(1000)), AFTER, Frame(PING, b"late"), Frame(CLOSE, close_body(1001)))),
    Closed(frozenset({1000, None})),
)  # fmt: skip
fails("close-half-code", "5.5.1", "the code of a Close has two bytes", Frame(CLOSE, b"\x03"))
for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535):
    # Only to send such a code is forbidden: to take it is not, but to send it back is (wire.py looks).
    frames(
        f"close-code-{code}", "7.4", "reserved codes are not sent, so not sent back either",
        Send((Frame(CLOSE, close_body(code)),)), Closed(frozenset({1000, 1002, None})),
    )  # fmt: skip
for reason in (b"\xff", b"ok\xc3", b"\xed\xa0\x80"):
    fails(
        f"close-not-utf8-{reason.hex()}", "8.1", "the reason of a Close is UTF-8",
        Frame(CLOSE, close_body(1000, reason)), codes=INVALID_DATA | PROTOCOL_ERROR,
    )  # fmt: skip

# --- 5.6, 8.1: text

for number in (0x0, 0x7F, 0x80, 0x7FF, 0x800, 0xD7FF, 0xE000, 0xFFFD, 0xFFFF, 0x10000, 0x10FFFF):
    character = chr(number).encode()
    echoes(f"utf8-{number:x}", "5.6", "text is UTF-8", Frame(TEXT, b"a" + character + b"z"))
    echoes(
        f"utf8-{number:x}-split", "5.6", "a character may be split over fragments",
        first(TEXT, character[:1]), more(character[1:2]), more(character[2:3]), last(character[3:]),
    )  # fmt: skip
_NOT_UTF8 = {
    "lone-continuation": b"\x80",
    "never-a-byte-fe": b"\xfe",
    "never-a-byte-ff": b"\xff",
    "overlong-2": b"\xc0\xaf",
    "overlong-3": b"\xe0\x80\xaf",
    "overlong-4": b"\xf0\x80\x80\xaf",
    "surrogate-first": b"\xed\xa0\x80",
    "surrogate-last": b"\xed\xbf\xbf",
    "above-10ffff": b"\xf4\x90\x80\x80",
    "five-bytes": b"\xf8\x88\x80\x80\x80",
    "broken-off-2": b"\xc3(",
    "broken-off-4": b"\xf0\x9f\x98(",
    "unfinished-2": b"\xc3",
    "unfinished-3": b"\xe2\x82",
    "unfinished-4": b"\xf0\x9f\x98",
}
for name, wrong_text in _NOT_UTF8.items():
    sent = Frame(TEXT, b"good " + wrong_text)
    fails(
        f"not-utf8-{name}",
        "8.1",
        "text that is not UTF-8 fails",
        sent,
        codes=INVALID_DATA,
        before=sent.payload,
    )
    parts = (first(TEXT, b"good " + wrong_text[:1]), more(wrong_text[1:]), last(b""))
    fails(
        f"not-utf8-{name}-split", "8.1", "also over several fragments", *parts, codes=INVALID_DATA,
        before=sent.payload,
    )  # fmt: skip
echoes("binary-any-bytes", "5.6", "binary data is arbitrary", *(Frame(BINARY, b) for b in _NOT_UTF8.values()))

# --- 5.2, 10.4: what is too much

echoes(
    "limit-reached",
    "10.4",
    "a message of the limit is taken",
    first(BINARY, filled(LIMIT - 5)),
    last(b"12345"),
)
fails(
    "limit-passed", "10.4", "a frame above the limit is not taken",
    Frame(BINARY, b"", form=64, announced=LIMIT + 1), codes=TOO_BIG,
)  # fmt: skip
fails(
    "limit-passed-by-far", "10.4", "a frame above the limit is not waited for",
    Frame(BINARY, b"", form=64, announced=(1 << 63) - 1), codes=TOO_BIG,
)  # fmt: skip
fails(
    "limit-passed-by-fragments", "10.4", "the fragments of a message count together",
    first(BINARY, filled(LIMIT - 5)), last(b"123456"), codes=TOO_BIG, before=filled(LIMIT - 5) + b"123456",
)  # fmt: skip

# --- 4.2: a server is asked

SAMPLE_KEY = "dGhlIHNhbXBsZSBub25jZQ=="


def asked(id: str, section: str, sentence: str, script: Request) -> None:
    CASES.append(Case(f"ask-{id}", section, sentence, SERVER, script))


def opens(id: str, section: str, sentence: str, *fields: tuple[str, Value]) -> None:
    asked(id, section, sentence, Request(fields, opens=True))


def refuses(id: str, section: str, sentence: str, *fields: tuple[str, Value]) -> None:
    asked(id, section, sentence, Request(fields, refused=(400, 426)))


opens("right", "4.2.2", "a right handshake is answered with 101 and the value for its key")
opens("without-origin", "4.2.1", "Origin is optional", ("Origin", None))
opens("unknown-field", "4.2.1", "unknown fields are ignored", ("X-Unknown", "a"), ("Cookie", "a=b; c=d"))
asked("lower-case", "4.1", "names of fields have no case", Request(opens=True, names="lower"))
asked("upper-case", "4.1", "names of fields have no case", Request(opens=True, names="upper"))
asked("other-order", "4.2.1", "the order of fields does not matter", Request(opens=True, names="reverse"))
asked("bytewise", "4.2.1", "a head may come in parts", Request(opens=True, cut=1))
asked("query", "4.2.1", "the resource name has a query", Request(target="/echo?a=b&c", opens=True))
asked(
    "absolute-target",
    "4.2.1",
    "the target may be an absolute URI",
    Request(target="http://{host}/echo", opens=True),
)
for value in ("WebSocket", "WEBSOCKET"):
    opens(f"upgrade-{value}", "4.2.1", "the value of Upgrade has no case", ("Upgrade", value))
opens("upgrade-in-list", "4.1", "Upgrade includes the keyword", ("Upgrade", "h2c, websocket"))
for number, connection in enumerate(("upgrade", "UPGRADE", "keep-alive, Upgrade", "Upgrade,keep-alive")):
    opens(
        f"connection-{number}",
        "4.2.1",
        "Connection includes the token, in any case",
        ("Connection", connection),
    )
opens("connection-twice", "4.2.1", "Connection may be two fields", ("Connection", ("keep-alive", "Upgrade")))
opens(
    "subprotocols",
    "4.2.2",
    "what the server does not speak is not chosen",
    ("Sec-WebSocket-Protocol", "a, b"),
)
opens(
    "extensions", "9.1", "an extension that the server does not have is not chosen",
    ("Sec-WebSocket-Extensions", ('permessage-deflate; server_max_window_bits; a="b", x-b', "x-c;d=1")),
)  # fmt: skip

for method in ("POST", "PUT", "OPTIONS"):
    asked(f"method-{method}", "4.2.1", "the method is GET", Request(method=method, refused=(400, 405)))
asked(
    "http-1.0", "4.2.1", "the version is 1.1 at least", Request(version="HTTP/1.0", refused=(400, 426, 505))
)
asked("http-2.0", "4.2.1", "no other HTTP is spoken", Request(version="HTTP/2.0", refused=(400, 505)))
asked(
    "no-http", "4.2.1", "what is malformed is refused with a status", Request(version="", refused=(400, 505))
)
refuses("no-host", "4.2.1", "there is a Host", ("Host", None))
refuses("no-upgrade", "4.2.1", "there is an Upgrade", ("Upgrade", None))
for value in ("h2c", "websockets", "web socket"):
    refuses(f"upgrade-{value}", "4.2.1", "Upgrade names websocket", ("Upgrade", value))
refuses("no-connection", "4.2.1", "there is a Connection", ("Connection", None))
refuses("connection-keep-alive", "4.2.1", "Connection names Upgrade", ("Connection", "keep-alive"))
refuses("no-key", "4.2.1", "there is a key", ("Sec-WebSocket-Key", None))
refuses("key-twice", "11.3.1", "there is one key", ("Sec-WebSocket-Key", (SAMPLE_KEY, SAMPLE_KEY)))
_KEYS = {
    "empty": "",
    "15-bytes": "AAAAAAAAAAAAAAAAAAAA",
    "17-bytes": "AAAAAAAAAAAAAAAAAAAAAAA=",
    "no-base64": "dGhlIHNhbXBsZSBub25j!!==",
    "no-padding": "dGhlIHNhbXBsZSBub25jZQ",
}
for name, wrong_key in _KEYS.items():
    refuses(f"key-{name}", "4.2.1", "the key is 16 bytes in base64", ("Sec-WebSocket-Key", wrong_key))
refuses("no-version", "4.2.1", "there is a version", ("Sec-WebSocket-Version", None))
for value in ("0", "7", "8", "12", "14", "25", "255"):
    asked(
        f"version-{value}", "4.4", "another version is refused, telling which are spoken",
        Request((("Sec-WebSocket-Version", value),), refused=(400, 426), tells_version=True),
    )  # fmt: skip
for value in ("", "013", "thirteen", "+13"):
    refuses(f"version-'{value}'", "4.3", "a version is a number", ("Sec-WebSocket-Version", value))
refuses("version-twice", "11.3.5", "there is one version", ("Sec-WebSocket-Version", ("13", "8")))
for value in ("a b", "a/b", "("):
    refuses(f"subprotocol-{value}", "4.2.1", "subprotocols are tokens", ("Sec-WebSocket-Protocol", value))
for value in ("", ";", "a;", "a b", "a; b=", 'a; b="c d"', "=", "a, (b)"):
    refuses(f"extension-'{value}'", "9.1", "malformed extensions fail", ("Sec-WebSocket-Extensions", value))
asked("elsewhere", "4.2.2", "what is not there has an HTTP status", Request(target="/other", refused=(404,)))
asked(
    "foreign-origin", "4.2.2", "an Origin that is not wanted has an HTTP status",
    Request((("Origin", "http://elsewhere.example"),), refused=(403,)),
)  # fmt: skip

# --- 4.1: a client is answered


def answered(
    id: str,
    section: str,
    sentence: str,
    *fields: tuple[str, Value],
    status: str = Answer.status,
    opens: bool = False,
    names: str = "",
    cut: int = 0,
) -> None:
    script = Answer(fields, status, opens, names, cut)
    CASES.append(Case(f"answer-{id}", section, sentence, CLIENT, script))


answered("right", "4.1", "a right answer opens the WebSocket", opens=True)
answered("bytewise", "4.1", "an answer may come in parts", opens=True, cut=1)
answered("other-phrase", "4.1", "the status counts, not its phrase", status="HTTP/1.1 101 Well", opens=True)
for name in ("lower", "upper", "reverse"):
    answered(f"{name}", "4.1", "neither case nor order of field names matters", names=name, opens=True)
for value in ("WebSocket", "WEBSOCKET"):
    answered(f"upgrade-{value}", "4.1", "the value of Upgrade has no case", ("Upgrade", value), opens=True)
for value in ("upgrade", "keep-alive, UPGRADE"):
    answered(f"connection-{value}", "4.1", "Connection has the token", ("Connection", value), opens=True)
answered("accept-space", "4.1", "space is ignored", ("Sec-WebSocket-Accept", "  {accept} \t"), opens=True)
answered(
    "unknown-field", "4.1", "unknown fields are ignored", ("Server", "x"), ("Set-Cookie", "a=b"), opens=True
)
for status in ("200 OK", "400 Bad Request", "403 Forbidden", "404 Not Found", "500 Error"):
    answered(
        f"status-{status[:3]}", "4.1", "only 101 opens a WebSocket", ("Content-Length", "0"),
        status=f"HTTP/1.1 {status}",
    )  # fmt: skip
answered("http-1.0", "4.2.2", "the answer is a valid one", status="HTTP/1.0 101 Switching Protocols")
answered("no-http", "4.1", "an answer that is no HTTP fails", status="WEBSOCKET OK")
answered("no-upgrade", "4.1", "Upgrade is there", ("Upgrade", None))
for value in ("", "h2c", "websockets", "websocket, h2c"):
    answered(f"upgrade-'{value}'", "4.1", "Upgrade is websocket, nothing else", ("Upgrade", value))
answered("no-connection", "4.1", "Connection is there", ("Connection", None))
for value in ("", "close", "Upgrades", "keep-alive"):
    answered(f"connection-'{value}'", "4.1", "Connection names Upgrade", ("Connection", value))
answered("no-accept", "4.1", "Sec-WebSocket-Accept is there", ("Sec-WebSocket-Accept", None))
for name, value in {
    "empty": "",
    "of-another-key": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
    "the-key": "{key}",
    "longer": "{accept}=",
    "shorter": "{shorter}",
    "other-case": "{swapped}",
}.items():
    answered(f"accept-{name}", "4.1", "Sec-WebSocket-Accept fits the key", ("Sec-WebSocket-Accept", value))
for value in ("permessage-deflate", "x-unasked; a=1", ";"):
    answered(
        f"extension-{value}",
        "4.1",
        "no extension that was not asked for",
        ("Sec-WebSocket-Extensions", value),
    )
answered("extension-empty", "9.1", "malformed extensions fail", ("Sec-WebSocket-Extensions", ""))
answered("subprotocol", "4.1", "no subprotocol that was not asked for", ("Sec-WebSocket-Protocol", "chat"))
answered("subprotocol-empty", "4.2.2", "an empty subprotocol is none", ("Sec-WebSocket-Protocol", ""))

# --- what a peer does of itself: the observations of test_conformance.py

for id, section, sentence, roles in (
    ("first-line", "4.1", "the request is GET, with the resource name, HTTP/1.1 at least", CLIENT),
    ("fields", "4.1", "Host, Upgrade, Connection and version 13 are there, each as it must be", CLIENT),
    ("key-fresh", "4.1", "the key is 16 bytes in base64, another for each connection", CLIENT),
    ("waits-for-answer", "4.1", "nothing is sent before the answer", CLIENT),
    ("one-at-a-time", "4.1", "to one address one connection at a time is being opened", CLIENT),
    ("answer-with-frames", "4.1", "frames may follow the answer at once", CLIENT),
    ("no-answer", "7.1.7", "a connection that ends without an answer is given up", CLIENT),
    ("masks-fresh", "5.3", "each frame has a fresh key, also in another connection", CLIENT),
    ("starts-closing", "7.1.2", "it starts closing with a Close, and ends when that was answered", CLIENT),
    ("closing-crossed", "5.5.1", "a Close that crosses ours is not answered again", CLIENT),
    ("connection-lost", "7.2.1", "a connection that is lost is given up", BOTH),
    ("sample-key", "4.2.2", "the value for the key of the RFC's example", SERVER),
    ("server-ends-first", "7.1.1", "the server ends the connection, without waiting for the client", SERVER),
):
    CASES.append(Case(id, section, sentence, roles, Look()))
