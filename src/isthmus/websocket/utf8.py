"""UTF-8 that comes in pieces (RFC 6455 8.1): the first wrong byte is found as soon as it is there."""

from __future__ import annotations

import codecs

from isthmus.websocket.mask import Buffer


class Utf8Validator:
    """Checks one text at a time; keeps at most the three bytes of a character in parts."""

    __slots__ = ("_tail",)

    def __init__(self) -> None:
        self._tail = b""

    @property
    def complete(self) -> bool:
        """Whether the text could end here: no character is in parts."""
        return not self._tail

    def check(self, piece: Buffer) -> int:
        """Take the next piece of the text and return how many of its bytes may stand there.

        That is all of them, or the place of the first byte which no valid text has there; then the validator
        is of no more use. The piece may be changed or reused after the call.
        """
        kept = len(self._tail)
        data: Buffer = self._tail + piece if kept else piece
        try:
            used = codecs.utf_8_decode(data, "strict", False)[1]
        except UnicodeDecodeError as error:
            # The decoder's error covers a character's good first bytes and ends before the wrong one,
            # except when the very first is wrong, which it then covers.
            wrong = error.start if error.reason == "invalid start byte" else error.end
            return wrong - kept
        self._tail = bytes(data[used:])
        if len(self._tail) == 2 and self._tail[0] == 0xED and self._tail[1] >= 0xA0:
            # The decoder waits for the third byte of a surrogate, though none may follow.
            return used + 1 - kept
        return len(piece)
