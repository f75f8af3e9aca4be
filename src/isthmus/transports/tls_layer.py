"""TLS over any transport, by the `ssl` module's objects in memory: a layer with half-close.

A byte's way in: what is below hands over ciphertext, it goes into a memory buffer of OpenSSL's, comes out
decrypted in the slab that the whole process shares, and the receiver gets a view of it. A byte's way out:
`write` encrypts and hands the ciphertext to what is below at once. So there is no queue here: what is
unsent is what is below has.
"""

from __future__ import annotations

import asyncio
import enum
import ssl
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from isthmus.errors import StreamCut, StreamReset
from isthmus.transports.base import Receiver, Transport

E = TypeVar("E", bound=BaseException)
HandshakeFailed = Callable[[BaseException, bytes | None], None]
"""Called with what went wrong and, where it is known, the certificate that the other side presented (DER)."""

RECORD = 16 * 1024
"""The most plaintext a TLS record carries (RFC 8446, section 5.1)."""
# OpenSSL's memory buffers never shrink, so this is what each connection holds after its first busy moment.
_FED_AT_A_TIME = 2 * RECORD
_EMPTY = memoryview(b"")

slab = memoryview(bytearray(16 * RECORD))
"""What is decrypted lands here, for all connections of the process.

A view of it lives during one call of `data_received` only, and such calls come from the event loop, one at a
time.
"""


class _State(enum.Enum):
    HANDSHAKE = enum.auto()  # -> OPEN or OVER
    OPEN = enum.auto()  # each direction on its own until it has ended -> CLOSING, BROKEN or OVER
    CLOSING = enum.auto()  # all is sent, or will be by what is below -> OVER
    BROKEN = enum.auto()  # reset; what is below has still to say that it is gone -> OVER
    OVER = enum.auto()


class TlsLayer:
    """TLS over any transport: a receiver to what is below, a transport to what is above. Half-close works.

    It begins when what is below calls `connection_made`. `server_name` is the server to reach; None says that
    we are the server. After the handshake `receiver` is told `connection_made`; or `failed` is called, once.
    Ciphertext is held only while the receiver pauses, and then no more than one read of what is below.
    """

    __slots__ = (
        "_below",
        "_below_ended",
        "_end_received",
        "_end_sent",
        "_error",
        "_failed",
        "_held",
        "_incoming",
        "_loop",
        "_outgoing",
        "_paused",
        "_receiver",
        "_state",
        "_timeout",
        "_timer",
        "_tls",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        context: ssl.SSLContext,
        receiver: Receiver,
        failed: HandshakeFailed,
        handshake_timeout: float,
        server_name: str | None,
    ) -> None:
        self._loop = loop
        self._receiver = receiver
        self._failed = failed
        self._timeout = handshake_timeout
        self._timer: asyncio.TimerHandle | None = None
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_name is None, server_hostname=server_name
        )
        self._below: Transport = _NOTHING
        self._state = _State.HANDSHAKE
        self._paused = False
        self._held = False  # there may be something to deliver once the receiver resumes
        self._below_ended = False
        self._end_received = False  # close_notify came
        self._end_sent = False  # close_notify went
        self._error: Exception | None = None  # why we broke the connection

    def cancel(self) -> None:
        """Give the handshake up; see `Dial`."""
        self._failed = _told
        if self._state is _State.HANDSHAKE:
            self._end_handshake(_State.OVER)
            self._below.abort()

    # --- from below

    def connection_made(self, transport: Transport) -> None:
        self._below = transport
        self._timer = self._loop.call_later(self._timeout, self._timed_out)
        self._shake_hands()

    def data_received(self, data: memoryview) -> None:
        if self._state is _State.OPEN:
            # TLS within TLS: `data` is where we shall decrypt to.
            self._deliver(memoryview(bytes(data)) if data.obj is slab.obj else data)
        elif self._state is _State.HANDSHAKE:
            self._incoming.write(data)
            self._shake_hands()

    def eof_received(self) -> None:
        self._below_ended = True
        if self._state is _State.HANDSHAKE:
            self._handshake_failed(EOFError())
        elif self._state is _State.OPEN:
            self._deliver()

    def pause_writing(self) -> None:
        if self._state is not _State.HANDSHAKE and self._state is not _State.OVER:
            self._receiver.pause_writing()

    def resume_writing(self) -> None:
        if self._state is not _State.HANDSHAKE and self._state is not _State.OVER:
            self._receiver.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        state = self._state
        if state is _State.HANDSHAKE:
            self._handshake_failed(caused(EOFError(), error))
        if state is _State.HANDSHAKE or state is _State.OVER:
            return
        self._state = _State.OVER
        if state is _State.BROKEN:
            error = self._error
        elif error is None and state is _State.OPEN:
            error = cut()
        self._receiver.connection_lost(error)

    # --- handshake

    def _shake_hands(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return
        except OSError as error:
            self._flush()  # the alert that tells the other side
            self._handshake_failed(error)
            return
        self._flush()
        self._end_handshake(_State.OPEN)
        self._receiver.connection_made(self)
        self._deliver()

    def _timed_out(self) -> None:
        self._handshake_failed(TimeoutError())

    def _handshake_failed(self, error: BaseException) -> None:
        certificate = presented_certificate(self._tls)
        self._end_handshake(_State.OVER)
        if isinstance(error, ssl.SSLError):
            self._below.close()
        else:
            self._below.abort()
        # Not from inside `connection_made` of what is below: that would be before `connect_tls` has returned.
        self._loop.call_soon(self._tell_failed, error, certificate)

    def _tell_failed(self, error: BaseException, certificate: bytes | None) -> None:
        failed, self._failed = self._failed, _told
        failed(error, certificate)

    def _end_handshake(self, state: _State) -> None:
        self._state = state
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # --- reading

    def _deliver(self, data: memoryview = _EMPTY) -> None:
        """Decrypt and hand on what is held, and `data` after it, until the receiver pauses."""
        fed = 0
        drained = False
        while not drained and not self._paused and not self._end_received and self._state is _State.OPEN:
            size, ended, broken = 0, False, None
            # Whole records only: what is left in the SSL object would not be seen as pending.
            while size <= len(slab) - RECORD:
                try:
                    count: int = self._tls.read(RECORD, slab[size:])  # type: ignore[assignment]
                except ssl.SSLWantReadError:
                    if fed >= len(data):
                        drained = True
                        break
                    self._incoming.write(data[fed : fed + _FED_AT_A_TIME])
                    fed += _FED_AT_A_TIME
                    continue
                except ssl.SSLZeroReturnError:
                    count = 0
                except ssl.SSLError as error:
                    broken = error
                    break
                if not count:
                    ended = True
                    break
                size += count
            self._flush()  # answers to what was no data: a new key, an alert
            if size:
                self._receiver.data_received(slab[:size])
            if self._state is not _State.OPEN:
                return
            if ended and not self._paused:  # else it is found again after `resume_reading`
                self._end_received = True
                self._receiver.eof_received()
                if self._end_sent:
                    self.close()
            elif broken is not None:
                self._break_off(tls_error(broken))
                return
        if self._state is not _State.OPEN or self._end_received:
            return
        self._held = not drained
        if fed < len(data):
            self._incoming.write(data[fed:])
        elif self._below_ended and drained:
            self._break_off(cut())

    def pause_reading(self) -> None:
        self._paused = True
        self._below.pause_reading()

    def resume_reading(self) -> None:
        self._paused = False
        self._below.resume_reading()
        if self._held or self._below_ended:
            self._loop.call_soon(self._deliver)

    # --- writing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._may_write():
            self._encrypt(data)
            self._flush()

    def writelines(self, parts: Sequence[bytes | bytearray | memoryview]) -> None:
        if not self._may_write():
            return
        for part in gathered(parts):
            self._encrypt(part)
        self._flush()

    def _may_write(self) -> bool:
        if self._end_sent or self._state is _State.CLOSING:
            raise RuntimeError("write after write_eof or close")
        return self._state is _State.OPEN

    def _encrypt(self, data: bytes | bytearray | memoryview) -> None:
        view = memoryview(data)
        try:
            for start in range(0, len(view), _FED_AT_A_TIME):
                self._tls.write(view[start : start + _FED_AT_A_TIME])
                if self._outgoing.pending >= _FED_AT_A_TIME:
                    self._flush()
        except ssl.SSLError as error:
            self._break_off(tls_error(error))

    def _flush(self) -> None:
        if self._outgoing.pending and self._state in (_State.HANDSHAKE, _State.OPEN):
            self._below.write(self._outgoing.read())

    def write_eof(self) -> None:
        if self._end_sent or self._state is not _State.OPEN:
            return
        if self._end_received:
            self.close()
        else:
            self._send_end()

    def _send_end(self) -> None:
        """Send close_notify and no more than that: the other direction goes on."""
        self._end_sent = True
        # `unwrap` also looks for the other side's close_notify, and data in its way would be an error.
        held = self._incoming.read()
        try:
            self._tls.unwrap()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self._break_off(tls_error(error))
            return
        self._incoming.write(held)
        self._flush()

    def set_write_limit(self, high: int) -> None:
        self._below.set_write_limit(high)

    def unsent(self) -> int:
        """Return how many bytes the kernel has not taken yet, as ciphertext."""
        return self._below.unsent()

    # --- the rest of Transport

    def set_receiver(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def close(self) -> None:
        if self._state is not _State.OPEN:
            return
        if not self._end_sent:
            self._send_end()
        if self._state is _State.OPEN:
            self._state = _State.CLOSING
            self._below.close()

    def abort(self) -> None:
        if self._state is _State.OPEN or self._state is _State.CLOSING:
            self._break_off(StreamReset("the connection was aborted by this gateway"))

    def info(self, name: str) -> Any:
        if name == "ssl_object":
            return self._tls
        return "tls" if name == "scheme" else self._below.info(name)

    @property
    def over(self) -> bool:
        """Whether the connection has ended."""
        return self._state is _State.OVER

    def dismiss(self, reason: str) -> None:
        """End it: whoever opened it may not go on. Both sides see a reset."""
        if self._state is _State.OPEN or self._state is _State.CLOSING:
            self._break_off(StreamReset(f"the client may not go on: {reason}"))

    def _break_off(self, error: StreamReset) -> None:
        self._flush()
        self._state = _State.BROKEN
        self._error = error
        self._below.abort()


def gathered(parts: Sequence[bytes | bytearray | memoryview]) -> Sequence[bytes | bytearray | memoryview]:
    """Join parts that fit into one record: a record costs more than a copy."""
    return [b"".join(parts)] if sum(map(len, parts)) <= RECORD else parts


def cut() -> StreamCut:
    return StreamCut("the TLS connection was cut off: it ended without close_notify")


def tls_error(error: Exception) -> StreamReset:
    reason = (
        getattr(error, "reason", None) or getattr(error, "strerror", None) or error or type(error).__name__
    )
    return caused(StreamReset(f"the TLS connection was lost: {reason}"), error)


def caused(error: E, cause: BaseException | None) -> E:
    error.__cause__ = cause
    return error


def presented_certificate(tls: Any) -> bytes | None:
    """Return what the other side presented (DER), accepted or not; None where that is not known.

    `getpeercert` says nothing before the handshake is done. The method is public from Python 3.13 on.
    """
    ask = getattr(tls, "get_unverified_chain", None) or getattr(tls._sslobj, "get_unverified_chain", None)
    chain = ask() if ask is not None else None
    if not chain:
        return None
    first = chain[0]
    return first if isinstance(first, bytes) else ssl.PEM_cert_to_DER_cert(first.public_bytes())


def _told(error: BaseException, certificate: bytes | None) -> None:
    """Stands for a `failed` that must not be called any more."""


class _Nothing:
    """What is below before there is anything: a handshake that is cancelled then has nothing to end."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return _no_operation


def _no_operation(*_: object) -> None: ...


_NOTHING: Any = _Nothing()
