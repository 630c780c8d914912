"""A server's replies, cut out of the bytes it sends (RFC 5321 section 4.2)."""

import re
from dataclasses import dataclass
from functools import lru_cache

from filterrelay.errors import FilterRelayError
from filterrelay.mail.printable import printable
from filterrelay.mail.reply import Reply

MAX_LINE = 4096  # octets; RFC 5321 section 4.5.3.1.5 allows 512, some servers say more
MAX_REPLY = 32 * 1024  # octets of one reply, all its lines together
MAX_TEXT = 2000  # characters of a reply that are kept, for each recipient and attempt
_SHOWN = 80  # characters of a bad line that the operator sees

# RFC 2034 section 4; some servers write #5.1.1, [5.1.1], (5.1.1) or 5.1.1: instead.
_ENHANCED = re.compile(r"[#(\[]?([245]\.\d{1,3}\.\d{1,3})(?:[])]?[:,]?(?:\s+|\Z))")


@dataclass
class BadReply(FilterRelayError):
    """The server's answer is no SMTP."""

    excerpt: str


class ReplyReader:
    """Takes bytes as they arrive and gives whole replies; what it holds is bounded."""

    __slots__ = ("_lines", "_octets", "_rest")

    def __init__(self) -> None:
        self._rest = b""
        self._lines: list[str] = []
        self._octets = 0

    def feed(self, data: bytes) -> list[Reply]:
        """The replies that these bytes complete. Raises BadReply."""
        if self._rest:
            data = self._rest + data
        *lines, self._rest = data.split(b"\n")
        if len(self._rest) > MAX_LINE:
            raise BadReply(_readable(self._rest))
        replies: list[Reply] = []
        for line in lines:
            if line[3:4] != b"-" and not self._lines:
                replies.append(parse_reply(line))
            elif whole := self._continued(line):
                replies.append(whole)
        return replies

    def _continued(self, line: bytes) -> Reply | None:
        """The reply of several lines that this one ends, or None while more will come."""
        self._octets += len(line)
        if self._octets > MAX_REPLY or not line[:3].isdigit():
            raise BadReply(_readable(line))
        code = line[:3].decode()
        if self._lines and self._lines[0][:3] != code:
            raise BadReply(_readable(line))
        self._lines.append(line.decode("utf-8", "replace"))
        if line[3:4] == b"-":
            return None
        whole = _reply(int(code), [text[4:] for text in self._lines])
        self._lines, self._octets = [], 0
        return whole


@lru_cache(maxsize=128)
def parse_reply(line: bytes) -> Reply:
    """The reply of one line, its line end there or not. Raises BadReply."""
    digits = line[:3]
    if len(line) > MAX_LINE or not digits.isdigit() or line[3:4] not in (b" ", b"\r", b""):
        raise BadReply(_readable(line))
    code = int(digits)
    if not 200 <= code <= 599:  # RFC 5321 section 4.2.1 knows no other first digits
        raise BadReply(_readable(line))
    return _reply(code, [line[4:].decode("utf-8", "replace")])


def reply_of(code: int, text: str) -> Reply:
    """The reply of that code, an enhanced code at the start of its lines taken out."""
    return _reply(code, text.split("\n"))


def _reply(code: int, lines: list[str]) -> Reply:
    enhanced = ""
    texts = []
    for line in lines:
        text = line.strip()
        matched = _ENHANCED.match(text)
        if matched and matched[1][0] == str(code)[0]:
            enhanced = enhanced or matched[1]
            text = text[matched.end() :]
        texts.append(printable(text))
    return Reply(code, enhanced, "\n".join(texts)[:MAX_TEXT])


def _readable(line: bytes) -> str:
    return printable(line[:_SHOWN].decode("utf-8", "replace").strip())
