"""Mail of 8 bits written for servers that take 7 only (RFC 6152 section 3, RFC 2045)."""

import base64
import binascii
import re

from filterrelay.mail.entity import Entity, read_entity
from filterrelay.mail.mime import MAX_DEPTH, MAX_PARTS
from filterrelay.mail.transfer import PLAIN
from filterrelay.mail.words import is_utf8

_SEALED = ("multipart/signed", "multipart/encrypted")  # opaque to relays, RFC 1847 section 2
_ENCODING = re.compile(
    rb"^content-transfer-encoding[ \t]*:[^\r]*\r\n(?:[ \t][^\r]*\r\n)*",
    re.IGNORECASE | re.MULTILINE,
)
_VERSION = re.compile(rb"^mime-version[ \t]*:", re.IGNORECASE | re.MULTILINE)
_HIGH = bytes(range(128, 256)) + b"="  # the octets that quoted-printable triples
_QUOTABLE = 1 / 3  # of them in a text, beyond which nobody reads it and base64 is far shorter
# b2a_qp doesn't count what encoding the blank at a line's end adds to it.
_TOO_LONG = re.compile(rb"^([^\r\n]{74,75})(=20|=09)(?=\r\n|\Z)", re.MULTILINE)


class _OutOfBounds(Exception):
    """The message has more parts, or deeper ones, than mail has."""


def seven_bit(raw: bytes) -> bytes:
    """The message with its parts of 8 bits in quoted-printable or base64; itself when it has none.

    Part by part: the multiparts and attached messages stay what they are, and so do all
    header fields but Content-Transfer-Encoding. What says nothing of its type gets one.
    As it came stays what is signed or encrypted (the receiver would find it forged), what
    isn't understood, header fields with letters beyond ASCII, and parts that may not be
    encoded (RFC 2046 section 5.2.2, RFC 3464 section 2.1). raw: CRLF line ends.
    """
    if raw.isascii():
        return raw
    conversion = _Conversion(raw)
    try:
        conversion.entity(0, len(raw), 0, "text/plain", is_message=True)
    except _OutOfBounds:
        return raw
    return conversion.result()


class _Conversion:
    """One pass over a message, noting what stands where instead."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._changes: list[tuple[int, int, bytes]] = []  # from, to, and what stands there
        self._parts = 0

    def result(self) -> bytes:
        """The message with all changes made; itself when there are none."""
        pieces, at = [], 0
        for start, end, text in sorted(self._changes):
            pieces += [self._raw[at:start], text]
            at = end
        return b"".join([*pieces, self._raw[at:]]) if pieces else self._raw

    def entity(
        self, start: int, end: int, depth: int, default: str, *, is_message: bool = False
    ) -> bool:
        """Converts the entity in that place; whether it is of 7 bits now.

        default: its media type when none is said. is_message: whether it stands for
        itself, not as a part of a multipart.
        """
        self._parts += 1
        if depth > MAX_DEPTH or self._parts > MAX_PARTS:
            raise _OutOfBounds
        raw = self._raw
        if raw[start:end].isascii():
            return True
        entity = read_entity(raw, start)
        body, kind = entity.body, entity.content_type if entity.types else default
        has_header = body - 2 == start or raw[body - 4 : body] == b"\r\n\r\n"
        if entity.fault or entity.encoding not in PLAIN or not has_header or body > end:
            return False
        head_is_ascii = raw[start:body].isascii()
        if kind.startswith("multipart/"):
            converted = kind not in _SEALED and self._multipart(entity, end, depth, kind)
        elif kind == "message/rfc822":
            converted = self.entity(body, end, depth + 1, "text/plain", is_message=True)
        elif kind.startswith("message/") and kind != "message/global":
            return False
        else:
            self._leaf(entity, start, end, kind, is_message=is_message)
            return head_is_ascii
        if converted and entity.encoding in ("8bit", "binary"):
            self._declare(start, body, b"7bit")
        return converted and head_is_ascii

    def _multipart(self, entity: Entity, end: int, depth: int, kind: str) -> bool:
        """Converts the parts; whether all of them, and what stands around them, are of 7 bits."""
        if len(entity.boundaries) != 1:
            return False
        (boundary,) = entity.boundaries
        delimiter = re.compile(rb"\r\n--" + re.escape(boundary) + rb"(--)?[ \t]*(?=\r\n|\Z)")
        default = "message/rfc822" if kind == "multipart/digest" else "text/plain"
        at, is_ascii = entity.body, True
        begun = False
        for line in delimiter.finditer(self._raw, entity.body - 2, end):
            if begun:
                is_ascii &= self.entity(at, line.start(), depth + 1, default)
            else:
                is_ascii &= self._raw[at : line.start()].isascii()
            at, begun = min(line.end() + 2, end), True
            if line[1]:
                return is_ascii and self._raw[at:end].isascii()
        return begun and self.entity(at, end, depth + 1, default) and is_ascii

    def _leaf(self, entity: Entity, start: int, end: int, kind: str, *, is_message: bool) -> None:
        content = self._raw[entity.body : end]
        if content.isascii():
            return
        is_text = kind.startswith(("text/", "message/"))
        tripled = len(content) - len(content.translate(None, _HIGH))
        if is_text and tripled <= len(content) * _QUOTABLE:
            encoding, encoded = b"quoted-printable", _quoted(content)
        else:
            encoding, encoded = b"base64", _in_base64(content)
        self._changes.append((entity.body, end, encoded))
        self._declare(start, entity.body, encoding)
        if is_message:
            self._explain(entity, start, content)

    def _declare(self, start: int, body: int, encoding: bytes) -> None:
        """Gives the header section this transfer encoding."""
        field = b"Content-Transfer-Encoding: " + encoding + b"\r\n"
        section = self._raw[start : body - 2]
        found = [*_ENCODING.finditer(section)]
        for each in found:
            self._changes.append((start + each.start(), start + each.end(), field))
        if not found:
            self._changes.append((body - 2, body - 2, field))

    def _explain(self, entity: Entity, start: int, content: bytes) -> None:
        """Says that it is MIME, and what it is, where the header doesn't."""
        at = entity.body - 2
        if not entity.types:
            charset = b"utf-8" if is_utf8(content) else b"unknown-8bit"  # RFC 1428 section 3
            line = b"Content-Type: text/plain; charset=" + charset + b"\r\n"
            self._changes.append((at, at, line))
        if not _VERSION.search(self._raw, start, at):
            self._changes.append((at, at, b"MIME-Version: 1.0\r\n"))


def _quoted(content: bytes) -> bytes:
    """The text in quoted-printable (RFC 2045 section 6.7); its line ends stay what they are."""
    encoded = binascii.b2a_qp(content)
    if b"\r\n" not in content:  # then the line ends are only its own, and bare
        encoded = encoded.replace(b"\n", b"\r\n")
    return _TOO_LONG.sub(rb"\1=\r\n\2", encoded)


def _in_base64(content: bytes) -> bytes:
    """The content in base64, with a line end behind it where the content has one."""
    encoded = base64.encodebytes(content).replace(b"\n", b"\r\n")
    return encoded if content.endswith(b"\r\n") else encoded[:-2]
