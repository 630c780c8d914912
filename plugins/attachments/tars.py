"""Members of tar archives (POSIX.1-2017, pax; GNU's long names), read past what is damaged."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

BLOCK = 512  # octets
MAX_RECORD = 64 * 1024  # octets of a long name or of pax records

_EMPTY = bytes(BLOCK)
_CHECKSUM = slice(148, 156)
_WITHOUT_CONTENT = (b"1", b"2", b"3", b"4", b"5", b"6")  # links, devices, directories, pipes
_LONG_NAME, _SPARSE, _PAX = b"L", b"S", (b"x", b"X")
_RECORDS = (_LONG_NAME, b"K", *_PAX, b"g")  # about the member that follows, or all
_MAX_DIGITS = 20
_ASCII = bytes(range(0x80))
_OCTAL = re.compile(rb"[ \0]*([0-7]+)[ \0]*\Z")
_PAX_RECORD = re.compile(rb"(?:\A|\n)\d{1,5} (path|size)=([^\n]*)")


@dataclass(frozen=True, slots=True)
class TarMember:
    """A file in the archive. start, end: where its content stands, beyond the end if cut off."""

    name: str
    start: int
    end: int


def is_tar_header(block: bytes) -> bool:
    """Whether the block's checksum is that of a member's header."""
    matched = _OCTAL.match(block[_CHECKSUM])
    if matched is None or len(block) < BLOCK:
        return False
    checksum = int(matched[1], 8)
    total = sum(block) - sum(block[_CHECKSUM]) + 8 * 0x20
    negative = len(block.translate(None, _ASCII))  # some programs took octets for signed numbers
    return checksum in (total, total - 0x100 * negative)


class Tar:
    """An archive's members; what is no header between them is passed over, as GNU tar does.

    Known when all have been had: damaged, whether something is wrong with it;
    rest, what stands behind its end.
    """

    def __init__(self, content: bytes) -> None:
        """Reads nothing yet."""
        self._content = content
        self.damaged = False
        self._ended = False
        self._rest = len(content)

    @property
    def rest(self) -> bytes:
        """What stands behind the end of the archive and is no zeros."""
        return self._content[self._rest :]

    def __iter__(self) -> Iterator[TarMember]:
        """The files, in order."""
        at = 0
        name, size = "", -1  # as said by records before the header
        while (found := self._next_header(at)) is not None:
            header, at = found
            length, kind = self._number(header[124:136]), header[156:157]
            if kind in _RECORDS:
                self.damaged |= length > MAX_RECORD
                record = self._content[at : at + min(length, MAX_RECORD)]
                name, size = _said(kind, record, name, size)
                at += _rounded(length)
                continue
            if kind not in _WITHOUT_CONTENT:
                at = self._behind_sparse_map(header, at) if kind == _SPARSE else at
                length = size if size >= 0 else length
                self.damaged |= at + length > len(self._content)
                yield TarMember(name or _header_name(header), at, at + length)
                at += _rounded(length)
            name, size = "", -1

    def _next_header(self, at: int) -> tuple[bytes, int] | None:
        """The next member's header, and where its content begins."""
        while at < len(self._content):
            block = self._content[at : at + BLOCK]
            at += BLOCK
            if block == _EMPTY:
                self._ended = True
            elif is_tar_header(block):
                return block, at
            elif not self._ended:
                self.damaged = True
            else:
                self._rest = min(self._rest, at - BLOCK)
        return None

    def _number(self, field: bytes) -> int:
        """An octal number, or one of 256 (a GNU extension)."""
        if field[0] == 0x80:
            return int.from_bytes(field[1:])
        matched = _OCTAL.match(field)
        self.damaged |= matched is None and bool(field.strip(b" \0"))
        return int(matched[1], 8) if matched else 0

    def _behind_sparse_map(self, header: bytes, at: int) -> int:
        """Where the content of a sparse file begins: behind blocks that say where it has holes."""
        more = header[482:483]
        while more not in (b"", b"\0"):
            more = self._content[at + 504 : at + 505]
            at += BLOCK
        return at


def _said(kind: bytes, record: bytes, name: str, size: int) -> tuple[str, int]:
    """The name and size of the member that follows."""
    if kind == _LONG_NAME:
        return _text(record), size
    if kind in _PAX:
        for key, value in _PAX_RECORD.findall(record):
            if key == b"path":
                name = _text(value)
            elif value.isdigit() and len(value) <= _MAX_DIGITS:
                size = int(value)
    return name, size


def _header_name(header: bytes) -> str:
    name = _text(header[:100])
    prefix = _text(header[345:500]) if header[257:263] == b"ustar\0" else ""
    return f"{prefix}/{name}" if prefix else name


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "replace")


def _rounded(length: int) -> int:
    return -(-length // BLOCK) * BLOCK
