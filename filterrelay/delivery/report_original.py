"""The third part of a report: the message that it is about, or only its header section."""

from filterrelay.mail.message import Message
from filterrelay.mail.words import is_utf8

MOST_HEADERS = 16 * 1024  # octets of the original's header section in a report
_LINE = 998  # octets; RFC 5322 section 2.1.1


def original_part(message: Message, *, full: bool) -> tuple[str, bytes]:
    """The part's content type and its content.

    full: whether all of the message is wanted. A header section that is cut off ends at
    a whole line. What has longer lines than strict servers take is folded, or not given
    back. A header section in UTF-8 makes it one of RFC 6533's types.
    """
    head = message.raw[: message.header_end]
    is_global = not head.isascii() and is_utf8(head)
    if full and not _is_long(message.raw):
        return ("message/global" if is_global else "message/rfc822"), message.raw
    folded = b"\r\n".join(map(_folded, head[:MOST_HEADERS].split(b"\r\n")))
    kept = folded[: folded.rfind(b"\r\n") + 2]
    return ("message/global-headers" if is_global else "text/rfc822-headers"), kept


def _is_long(text: bytes) -> bool:
    """Whether a line of it is longer than strict servers take."""
    return any(len(line) > _LINE for line in text.split(b"\r\n"))


def _folded(line: bytes) -> bytes:
    """The line folded before blanks (RFC 5322 section 2.2.3), or within what has none."""
    pieces = []
    while len(line) > _LINE:
        blank = max(line.rfind(b" ", 1, _LINE), line.rfind(b"\t", 1, _LINE))
        if blank > 0 and line[:blank].strip():
            pieces.append(line[:blank])
            line = line[blank:]
        else:
            pieces.append(line[:_LINE])
            line = b" " + line[_LINE:]
    return b"\r\n".join((*pieces, line))
