"""Message content as SMTP carries it, without sockets: the final dot, chunks, line ends.

Whole blocks are searched and copied, never single lines, and content that is refused is
no longer stored. The line ends are held to CRLF (RFC 5321 section 2.3.8): what one server
takes for the end of a message and the next one doesn't would let a client smuggle mail.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from filterrelay.mail.message import is_clean

END_OF_DATA = b"\r\n.\r\n"  # RFC 5321 section 4.1.1.4
_STUFFED = b"\r\n."
_LF = 0x0A
_BLANKS = (b" ", b"\t")
_PREFIXES = tuple(END_OF_DATA[:length] for length in (4, 3, 2, 1))


class Fault(Enum):
    """Why content is refused once its end has been read."""

    TOO_LARGE = "too large"
    LINE_TOO_LONG = "line too long"
    BARE_LINE_END = "bare CR or LF"
    NUL = "NUL"
    HEADER_TOO_LARGE = "header section too large"
    TOO_MANY_FIELDS = "too many header fields"
    CONTINUATION_FIRST = "continuation line first"


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much content may be: octets of the whole message, of one line with its CR, of the
    header section, and the fields that it may have.

    A header is dear: each field becomes a value of its own for the filters.
    """

    octets: int
    line: int
    header: int
    fields: int


class Content:
    """The octets of one message as they arrive, checked and kept within bounds.

    octets: how many are kept. fault: the first one found; nothing is kept from then on.
    """

    __slots__ = (
        "_bounds",
        "_buffer",
        "_fields",
        "_header",
        "_in_header",
        "_line",
        "fault",
        "octets",
    )

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._buffer: io.BytesIO | None = io.BytesIO()
        self._line = 0  # octets since the last LF
        self._in_header = True
        self._header = 0  # octets
        self._fields = 0
        self.octets = 0
        self.fault: Fault | None = None

    def add(self, text: bytes | bytearray) -> None:
        """Takes octets that don't end between a CR and its LF."""
        if self._buffer is None or not text:
            return
        self.octets += len(text)
        fault = self._fault_of(text)
        if fault is None:
            self._buffer.write(text)
        else:
            self.fault = fault
            self.drop()

    def drop(self) -> None:
        """Keeps nothing, neither what came nor what will come."""
        self._buffer = None
        self.octets = 0

    def take(self) -> bytes:
        """The message, handed over once."""
        buffer, self._buffer = self._buffer, None
        return buffer.getvalue() if buffer is not None else b""

    def ends_line(self) -> bool:
        """Whether the last octet was an LF, or there was none."""
        return self._line == 0

    def _fault_of(self, text: bytes | bytearray) -> Fault | None:
        if self.octets > self._bounds.octets:
            return Fault.TOO_LARGE
        if self._in_header and (fault := self._header_fault(text)):
            return fault
        if self._has_long_line(text):
            return Fault.LINE_TOO_LONG
        if not is_clean(text):
            return Fault.NUL if b"\0" in text else Fault.BARE_LINE_END
        return None

    def _header_fault(self, text: bytes | bytearray) -> Fault | None:
        """Measures what the text has of the header section, up to the empty line behind it."""
        begins_line = not self._line
        continues = begins_line and text[:1] in _BLANKS
        if continues and not self._header:
            return Fault.CONTINUATION_FIRST
        stop = 0 if begins_line and text.startswith(b"\r\n") else text.find(b"\r\n\r\n") + 2
        self._in_header = stop == 1  # -1 + 2: the empty line is still to come
        if self._in_header:
            stop = len(text)
        folds = text.count(b"\r\n ", 0, stop) + text.count(b"\r\n\t", 0, stop) + continues
        self._fields += text.count(b"\r\n", 0, stop) - folds
        self._header += stop
        if self._header > self._bounds.header:
            return Fault.HEADER_TOO_LARGE
        return Fault.TOO_MANY_FIELDS if self._fields > self._bounds.fields else None

    def _has_long_line(self, text: bytes | bytearray) -> bool:
        """Whether a line is over the limit; only blocks beyond the limit are searched within."""
        first = text.find(b"\n")
        if first < 0:
            self._line += len(text)
            return self._line > self._bounds.line
        last = text.rfind(b"\n")
        if self._line + first > self._bounds.line:
            return True
        start = first + 1
        while last - start > self._bounds.line:
            start = text.rfind(b"\n", start, start + self._bounds.line + 1) + 1
            if not start:
                return True
        self._line = len(text) - last - 1
        return self._line > self._bounds.line


class DataDecoder:
    """What follows DATA's 354, up to the final dot, in blocks of any size.

    rest: what came behind the final dot, the next command's beginning.
    """

    __slots__ = ("_held", "_imagined", "content", "rest")

    def __init__(self, content: Content) -> None:
        self.content = content
        self.rest: bytes | bytearray = b""
        self._held: bytes | bytearray = b"\r\n"  # a dot at the very beginning follows a line's end
        self._imagined = 2  # how many of the octets held never came

    def feed(self, block: bytes | bytearray) -> bool:
        """Takes the next octets; whether the final dot was among them."""
        data = self._held + block if self._held else block
        end = -1
        stop = len(data) - _unfinished(data)
        dot = data.find(_STUFFED)
        if dot >= 0:
            end = data.find(END_OF_DATA, dot)
            if end >= 0:
                stop = end + 2
                self.rest = data[end + 5 :]
        text = data[:stop]
        if 0 <= dot < stop - 2:
            text = text.replace(_STUFFED, b"\r\n")
        if self._imagined:
            taken = min(self._imagined, stop)
            self._imagined -= taken
            text = text[taken:]
        self.content.add(text)
        self._held = data[stop:] if end < 0 else b""
        return end >= 0


class ChunkDecoder:
    """The chunks of BDAT (RFC 3030), put together; there is no dot in them to undo."""

    __slots__ = ("_held", "content")

    def __init__(self, content: Content) -> None:
        self.content = content
        self._held = b""

    def feed(self, block: bytes | bytearray) -> None:
        """Takes the next octets of a chunk."""
        data = self._held + block if self._held else block
        if data.endswith(b"\r"):
            self._held = b"\r"
            data = data[:-1]
        else:
            self._held = b""
        self.content.add(data)

    def finish(self) -> None:
        """Takes note that the last chunk is complete.

        The last line gets the CRLF that it may lack, as it would have had with DATA.
        """
        if self._held:
            self.content.add(self._held)
        elif not self.content.ends_line():
            self.content.add(b"\r\n")


def _unfinished(data: bytes | bytearray) -> int:
    """How many octets at the end may be the beginning of the final dot's line."""
    for prefix in _PREFIXES:
        if data.endswith(prefix):
            return len(prefix)
    return 0


def dot_stuffed(message: bytes) -> bytes:
    """The message as DATA sends it, up to and with the final dot (RFC 5321 section 4.5.2).

    message: CRLF line ends; the last line gets one if it has none.
    """
    stuffed = message.replace(_STUFFED, b"\r\n..") if _STUFFED in message else message
    if stuffed.startswith(b"."):
        stuffed = b"." + stuffed
    return stuffed + (b".\r\n" if not stuffed or stuffed.endswith(b"\r\n") else END_OF_DATA)


def stuffed_chunks(message: bytes, size: int) -> Iterator[bytes]:
    """What dot_stuffed gives, in pieces of about that size, so that no second copy is held."""
    for start in range(0, len(message), size):
        chunk = message[start : start + size]
        if b"\n." in chunk:
            chunk = chunk.replace(b"\n.", b"\n..")
        if chunk.startswith(b".") and (not start or message[start - 1] == _LF):
            chunk = b"." + chunk
        yield chunk
    yield b".\r\n" if not message or message.endswith(b"\r\n") else END_OF_DATA
