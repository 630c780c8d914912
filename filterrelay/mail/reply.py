"""SMTP replies as values, and the named ones that several places give."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from filterrelay.mail.printable import printable

MAX_LINE = 512  # octets with code and CRLF, RFC 5321 section 4.5.3.1.5
MAX_LINES = 64  # of one reply

_LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class Reply:
    """One SMTP reply (RFC 5321 section 4.2).

    code: three digits. enhanced: an RFC 3463 code as `4.3.0`, or empty where
    none belongs (greeting, EHLO, 354 and 334). text: what a person reads; a
    line end makes it a reply of several lines.
    """

    code: int
    enhanced: str
    text: str

    def __str__(self) -> str:
        first = f"{self.code} {self.enhanced}" if self.enhanced else str(self.code)
        return f"{first} {' / '.join(self._lines())}"

    def encode(self) -> bytes:
        """The reply as it goes over the wire, CRLF included; a long line becomes several.

        Of very many lines some are left out before the last one, which is where an
        ID stands.
        """
        prefix = f"{self.enhanced} " if self.enhanced else ""
        whole = f"{self.code} {prefix}{self.text}\r\n".encode("utf-8", "replace")
        if len(whole) <= MAX_LINE and self.text.isprintable():
            return whole
        room = MAX_LINE - len(f"{self.code} {prefix}\r\n")
        texts = [line.encode("utf-8", "replace") for line in self._lines()]
        pieces = [piece for text in texts for piece in _cut(text, room)]
        pieces[MAX_LINES - 1 : -1] = []
        last = len(pieces) - 1
        return b"".join(
            b"%d%b%b%b\r\n" % (self.code, b" " if i == last else b"-", prefix.encode(), piece)
            for i, piece in enumerate(pieces)
        )

    def _lines(self) -> list[str]:
        """The text's lines without anything that a client or a terminal could misread."""
        if self.text.isprintable():
            return [self.text]
        return [printable(line) for line in _LINE_END.split(self.text)]

    @property
    def is_temporary(self) -> bool:
        """Whether the client should try again (4xx)."""
        return self.code // 100 == 4

    @property
    def is_permanent(self) -> bool:
        """Whether trying again is pointless (5xx)."""
        return self.code // 100 == 5


def _cut(line: bytes, room: int) -> Iterator[bytes]:
    """The line in pieces of at most so many octets, cut at blanks, else between characters."""
    start = 0
    while len(line) - start > room:
        end = line.rfind(b" ", start + 1, start + room + 1)
        after = end + 1
        if end < 0:
            end = start + room
            while line[end] & 0xC0 == 0x80:  # within a character, RFC 3629 section 3
                end -= 1
            after = end
        yield line[start:end]
        start = after
    yield line[start:]


OK = Reply(250, "2.0.0", "OK")
SENDER_OK = Reply(250, "2.1.0", "Sender OK")  # RFC 3463 section 3.2
RECIPIENT_OK = Reply(250, "2.1.5", "Recipient OK")
TRY_LATER = Reply(451, "4.3.0", "Temporary problem on our side, please try again later")
LOGIN_OVER = Reply(421, "4.7.0", "Your login is no longer good, please log in again")
NO_MEMORY = Reply(452, "4.3.1", "Too much mail at once, please try again in a minute")
NO_SPACE = Reply(452, "4.3.1", "No space left to keep mail safe, please try again later")
MESSAGE_REFUSED = Reply(550, "5.7.1", "Message refused")
