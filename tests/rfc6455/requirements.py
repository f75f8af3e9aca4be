"""Each MUST and MUST NOT of RFC 6455 sections 4 to 10, in the order of the text, and the cases that hold it.

Those for intermediaries and for who defines extensions are not here: an endpoint without them is neither.
`cases` are patterns of names. What no case can show has the reason in `unseen` instead. Cases for what is
told without the word MUST (lists of what an endpoint does or may do) are named at the end.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.rfc6455.cases import BOTH, CLIENT, SERVER
from tests.rfc6455.subjects import Role


@dataclass(frozen=True)
class Requirement:
    """`demand` is in our words; `roles` are those it binds."""

    section: str
    demand: str
    roles: tuple[Role, ...]
    cases: tuple[str, ...] = ()
    unseen: str = ""


def seen(section: str, demand: str, roles: tuple[Role, ...], *cases: str) -> Requirement:
    return Requirement(section, demand, roles, cases)


def unseen(section: str, demand: str, roles: tuple[Role, ...], reason: str) -> Requirement:
    return Requirement(section, demand, roles, unseen=reason)


_TLS = "TLS is below the WebSocket: tests/transports/test_tls.py and tests/system hold it"
_URI = (
    "a wrong address never reaches the wire: tests/test_uri.py and tests/websocket/test_handshake.py hold it"
)
_NO_EXTENSIONS = "these peers offer and accept none"

REQUIREMENTS: tuple[Requirement, ...] = (
    # 4.1
    seen("4.1", "it connects, sends an opening handshake and reads the answer", CLIENT, "answer-right"),
    unseen("4.1-1", "host, port, resource name and secure flag are valid", CLIENT, _URI),
    unseen("4.1-1", "with an invalid one it fails the connection", CLIENT, _URI),
    seen("4.1-2", "it waits for another connection to that address to open or fail", CLIENT, "one-at-a-time"),
    seen("4.1-2", "no more than one connection is being opened", CLIENT, "one-at-a-time"),
    seen("4.1-2", "simultaneous ones to an address go one after the other", CLIENT, "one-at-a-time"),
    unseen("4.1-2", "behind a proxy each name counts as a host", CLIENT, "these clients use no proxy"),
    unseen(
        "4.1-3", "a proxy script is given the WebSocket URI", CLIENT, "these clients run no proxy scripts"
    ),
    unseen(
        "4.1-4",
        "it fails when it cannot connect",
        CLIENT,
        "there is no wire then: tests/transports/test_dial.py holds it",
    ),
    unseen("4.1-5", "with the secure flag, TLS comes first", CLIENT, _TLS),
    unseen("4.1-5", "a TLS handshake that fails fails the connection", CLIENT, _TLS),
    unseen("4.1-5", "all else goes through TLS", CLIENT, _TLS),
    unseen("4.1-5", "TLS is told the server's name (SNI)", CLIENT, _TLS),
    seen("4.1", "once connected it sends its handshake", CLIENT, "first-line"),
    seen("4.1-1", "the handshake is a valid HTTP request", CLIENT, "fields"),
    seen("4.1-2", "the method is GET", CLIENT, "first-line"),
    seen("4.1-2", "the version is 1.1 at least", CLIENT, "first-line"),
    seen("4.1-3", "the target is the resource name", CLIENT, "first-line"),
    seen("4.1-4", "there is Host, with the port unless it is the default", CLIENT, "fields"),
    seen("4.1-5", "there is Upgrade", CLIENT, "fields"),
    seen("4.1-5", "Upgrade includes websocket", CLIENT, "fields"),
    seen("4.1-6", "there is Connection", CLIENT, "fields"),
    seen("4.1-6", "Connection includes Upgrade", CLIENT, "fields"),
    seen("4.1-7", "there is Sec-WebSocket-Key", CLIENT, "key-fresh"),
    seen("4.1-7", "its value is 16 random bytes in base64", CLIENT, "key-fresh"),
    seen("4.1-7", "it is chosen for each connection", CLIENT, "key-fresh"),
    unseen("4.1-8", "a browser sends Origin", CLIENT, "these clients are no browsers"),
    seen("4.1-9", "there is Sec-WebSocket-Version", CLIENT, "fields"),
    seen("4.1-9", "its value is 13", CLIENT, "fields"),
    seen("4.1-10", "offered subprotocols are tokens", CLIENT, "fields"),
    seen("4.1-10", "offered subprotocols are unique", CLIENT, "fields"),
    seen("4.1", "after its handshake it waits for the answer", CLIENT, "waits-for-answer"),
    seen("4.1", "it validates the answer", CLIENT, "answer-right", "answer-status-*", "answer-no-http"),
    seen("4.1-2", "without a right Upgrade it fails", CLIENT, "answer-no-upgrade", "answer-upgrade-'*"),
    seen(
        "4.1-3", "without a right Connection it fails", CLIENT, "answer-no-connection", "answer-connection-'*"
    ),
    seen("4.1-4", "without the right accept it fails", CLIENT, "answer-no-accept", "answer-accept-*"),
    seen("4.1-5", "with an extension it did not ask for it fails", CLIENT, "answer-extension-*"),
    seen("4.1-6", "with a subprotocol it did not ask for it fails", CLIENT, "answer-subprotocol"),
    seen(
        "4.1",
        "with an answer otherwise not as in 4.2.2 it fails",
        CLIENT,
        "answer-http-1.0",
        "answer-subprotocol-empty",
        "no-answer",
    ),
    # 4.2
    seen(
        "4.2.1",
        "a handshake that does not match is refused with an HTTP status",
        SERVER,
        "ask-method-*",
        "ask-http-*",
        "ask-no-*",
        "ask-upgrade-*",
        "ask-connection-*",
        "ask-key-*",
        "ask-subprotocol-*",
        "ask-version-'*",
        "ask-version-twice",
    ),
    seen("4.2.2", "these steps open a connection", SERVER, "ask-right"),
    unseen("4.2.2-1", "after TLS, all goes through it", SERVER, _TLS),
    seen("4.2.2-4", "an unwanted Origin is refused with an HTTP status", SERVER, "ask-foreign-origin"),
    seen("4.2.2-4", "another version is refused, telling which are spoken", SERVER, "ask-version-[0-9]*"),
    seen("4.2.2-4", "a service that is not there is refused with an HTTP status", SERVER, "ask-elsewhere"),
    seen("4.2.2-4", "a subprotocol is one of those offered", SERVER, "ask-subprotocols"),
    seen("4.2.2-4", "without agreement there is no Sec-WebSocket-Protocol", SERVER, "ask-subprotocols"),
    unseen("4.2.2-4", "extensions are chosen from those offered", SERVER, _NO_EXTENSIONS),
    seen("4.2.2-4", "extensions that were not offered are not listed", SERVER, "ask-extensions", "ask-right"),
    seen(
        "4.2.2-5",
        "it accepts with 101, Upgrade, Connection and the accept value",
        SERVER,
        "ask-right",
        "sample-key",
    ),
    unseen("4.3", "a quoted parameter is a token", CLIENT, _NO_EXTENSIONS),
    seen("4.3", "a quoted parameter is a token", SERVER, "ask-extension-*"),
    seen("4.4", "a refused version is told the right ones", SERVER, "ask-version-[0-9]*"),
    # 5
    seen("5.1", "a client masks all frames", CLIENT, "masks-fresh", "ping-*", "close-*", "length-*"),
    seen("5.1", "a server closes upon a frame that is not masked", SERVER, "unmasked-*"),
    seen("5.1", "a server does not mask", SERVER, "length-*", "ping-*", "close-*"),
    seen("5.1", "a client closes upon a masked frame", CLIENT, "masked-*"),
    seen("5.2", "reserved bits are 0", BOTH, "length-*", "ping-*", "close-*"),
    seen("5.2", "a reserved bit that is set fails", BOTH, "rsv-*"),
    seen("5.2", "an unknown opcode fails", BOTH, "opcode-*"),
    seen("5.2", "the highest bit of a 64-bit length is 0", BOTH, "length-highest-bit", "length-65536"),
    seen("5.2", "a length is sent in its shortest form", BOTH, "length-[0-9]*"),
    unseen("5.2", "an extension tells the length of its data", BOTH, _NO_EXTENSIONS),
    seen("5.3", "a masked frame has its bit set", CLIENT, "masks-fresh"),
    seen("5.3", "each frame has a fresh key", CLIENT, "masks-fresh"),
    unseen(
        "5.3",
        "keys come from a strong source",
        CLIENT,
        "a key does not show where it is from; tests/websocket/test_connection.py holds it",
    ),
    unseen("5.3", "a key does not tell the next", CLIENT, "only that keys are fresh can be shown"),
    seen("5.4", "control frames are not fragmented", BOTH, "fragmented-*", "ping-*"),
    seen("5.4", "fragments keep their order", BOTH, "fragments-*"),
    seen("5.4", "fragments of messages are not interleaved", BOTH, "interleaved-*", "continuation-*"),
    seen(
        "5.4",
        "control frames inside a message are handled",
        BOTH,
        "ping-inside-message",
        "pings-between-all",
        "close-inside-message",
    ),
    seen("5.4", "fragmented and unfragmented messages are taken", BOTH, "fragments-*", "length-*"),
    seen("5.4", "the type of all fragments is text or binary", BOTH, "fragmented-*", "opcode-3-inside"),
    seen("5.5", "control frames have 125 bytes at most", BOTH, "long-*", "huge-*", "ping-125"),
    seen("5.5", "control frames are not fragmented", BOTH, "fragmented-*"),
    seen("5.5.1", "the body of a Close begins with a code of two bytes", BOTH, "close-*"),
    unseen("5.5.1", "a client does not show the reason to users", CLIENT, "there is no user on the wire"),
    seen("5.5.1", "Close frames of a client are masked (must)", CLIENT, "close-*", "starts-closing"),
    seen("5.5.1", "after its Close it sends no more data", BOTH, "close-*"),
    seen(
        "5.5.1",
        "a Close is answered by a Close, unless it was sent before",
        BOTH,
        "close-*",
        "closing-crossed",
    ),
    seen("5.5.1", "after both Close frames it closes the connection", BOTH, "close-*", "starts-closing"),
    seen("5.5.1", "the server closes it at once", SERVER, "server-ends-first"),
    seen(
        "5.5.2", "a ping is answered by a pong, unless a Close came before", BOTH, "ping-*", "close-then-more"
    ),
    seen("5.5.3", "the pong has the ping's payload (must)", BOTH, "ping-*", "pings-many"),
    seen("5.6", "a whole text message is UTF-8", BOTH, "utf8-*", "not-utf8-*"),
    unseen("5.8", "extensions are negotiated in the opening handshake", BOTH, _NO_EXTENSIONS),
    # 6
    seen("6.1", "sending is these steps", BOTH, "length-*"),
    seen(
        "6.1-1",
        "data is sent on an open connection only",
        BOTH,
        "answer-status-*",
        "ask-no-key",
        "close-then-more",
    ),
    seen("6.1-1", "when that ends, so does sending", BOTH, "close-then-more", "close-after-data"),
    seen("6.1-2", "data is sent in frames", BOTH, "length-*"),
    seen("6.1-3", "the opcode of the first frame is right for the data", BOTH, "utf8-*", "binary-any-bytes"),
    seen("6.1-4", "the last frame has FIN", BOTH, "messages-in-turn", "length-*"),
    seen("6.1-5", "a client's frames are masked", CLIENT, "masks-fresh"),
    seen("6.1-7", "the frames are sent", BOTH, "length-*"),
    seen("6.2", "what comes is read as frames", BOTH, "bytewise-*", "header-in-parts", "many-in-one-write"),
    seen("6.2", "control frames are handled as in 5.5", BOTH, "ping-*", "close-*", "pong-*"),
    seen("6.2", "the type of data is noted from the opcode", BOTH, "not-utf8-*", "binary-any-bytes"),
    seen("6.2", "frames after the last of a message begin a new one", BOTH, "messages-in-turn"),
    seen("6.2", "a server removes the mask", SERVER, "mask-*", "masks-of-many-lengths", "masks-cut-anywhere"),
    # 7
    seen("7.1.2", "who starts closing sends a Close with its code", CLIENT, "starts-closing"),
    unseen(
        "7.1.2",
        "who starts closing sends a Close with its code",
        SERVER,
        "an echo server has no reason of its own to close; its Close when it fails is in the cases of 5",
    ),
    seen(
        "7.1.7",
        "a client that fails the connection closes it",
        CLIENT,
        "rsv-*",
        "answer-no-accept",
        "no-answer",
    ),
    seen("7.1.7", "a server that fails the connection closes it", SERVER, "rsv-*", "opcode-*"),
    seen(
        "7.1.7", "after failing nothing more is processed", BOTH, "rsv-*", "opcode-*", "not-utf8-*", "long-*"
    ),
    seen("7.2.1", "to fail is as in 7.1.7", CLIENT, "answer-no-accept"),
    seen("7.2.1", "a lost connection is failed", CLIENT, "connection-lost"),
    unseen(
        "7.2.2",
        "to abort a handshake is to close the connection",
        SERVER,
        "each refusal of these servers has an HTTP answer, which 4.2 demands",
    ),
    seen("7.4.1", "1005 is not sent", BOTH, "close-code-1005", "close-empty"),
    seen("7.4.1", "1006 is not sent", BOTH, "close-code-1006"),
    seen("7.4.1", "1015 is not sent", BOTH, "close-code-1015"),
    # 8, 9, 10
    seen("8.1", "what should be UTF-8 and is not fails", BOTH, "not-utf8-*", "close-not-utf8-*"),
    seen("9", "a server lists no extension that was not asked for", SERVER, "ask-right", "ask-extensions"),
    unseen("9", "parameters are chosen as the extension says", BOTH, _NO_EXTENSIONS),
    seen("9.1", "malformed extensions fail at once", BOTH, "ask-extension-*", "answer-extension-*"),
    unseen("9.1", "parameters in quotes are tokens", CLIENT, _NO_EXTENSIONS),
    seen("9.1", "parameters in quotes are tokens", SERVER, "ask-extension-*"),
    unseen("9.1", "names of extensions are registered", BOTH, _NO_EXTENSIONS),
    unseen("9.1", "parameters are defined for their extension", BOTH, _NO_EXTENSIONS),
    seen("9.1", "a client uses no extension that the server did not agree to", CLIENT, "length-*", "ping-*"),
    seen("10.3", "each frame has a new key, which applications cannot foresee", CLIENT, "masks-fresh"),
    unseen(
        "10.3", "a frame under way cannot be changed (must)", CLIENT, "an application does not see its frame"
    ),
    unseen("10.3", "data that is added has a frame and a key of its own (must)", CLIENT, "as the one before"),
    seen("10.4", "who has limits protects itself from what exceeds them", BOTH, "limit-*"),
    unseen("10.6", "TLS is supported", BOTH, _TLS),
    seen(
        "10.7", "what comes is always validated", BOTH, "rsv-*", "opcode-*", "not-utf8-*", "long-*", "limit-*"
    ),
    # told without MUST
    seen(
        "4.1",
        "names of fields and the values of two have no case",
        CLIENT,
        "answer-[lur]*",
        "answer-connection-*",
    ),
    seen(
        "4.1",
        "only the status counts, other fields are ignored, heads come in parts",
        CLIENT,
        "answer-other-phrase",
        "answer-unknown-field",
        "answer-bytewise",
    ),
    seen(
        "4.2.1",
        "names, order, values and targets may be written in several ways",
        SERVER,
        "ask-lower-case",
        "ask-upper-case",
        "ask-other-order",
        "ask-bytewise",
        "ask-query",
        "ask-absolute-target",
        "ask-without-origin",
        "ask-unknown-field",
    ),
    seen("4.2.2", "after its answer the server may send at once", CLIENT, "answer-with-frames"),
    seen("5.5.3", "pongs that nobody asked for are not answered", BOTH, "pong-unsolicited-*"),
    seen("7.2", "a lost connection ends", SERVER, "connection-lost"),
)
