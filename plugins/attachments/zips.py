"""Entries of ZIP archives (APPNOTE.TXT), found wherever they stand.

A program may go by the directory at the end, or by the header before each
file; several archives may stand one behind the other, and octets around them.
What any program would see is looked at here, so both are read.
"""

import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from filterrelay_plugins.attachments.packed import Stored, Stream, inflated, unbzipped

LOCAL, LISTED, END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"  # sections 4.3.7, 4.3.12, 4.3.16
_LOCAL = struct.Struct("<4xHHH4x4xIIHH")
_LISTED = struct.Struct("<4x2xHHH4x4xIIHHH8xI")
_END64 = b"PK\x06\x06"  # section 4.3.14
_END64_OCTETS = 1024  # before the end record, with its locator and what else may stand in it
_ANY = re.compile(rb"PK(?:\x03\x04|\x01\x02|\x07\x08|\x05\x06)")
_ENCRYPTED, _SIZES_BEHIND, _UTF8 = 0x1, 0x8, 0x800  # general purpose bits, section 4.4.4
_STORED, _DEFLATED, _BZIPPED = 0, 8, 12  # methods, section 4.4.5
_MARKS = 10  # for each entry that is accepted, so many that are none
_MAX_VERSION = 100  # of the format; what says more is no header
_UNKNOWN_SIZE = 0xFFFFFFFF  # it stands elsewhere
_ZIP64, _UNICODE_PATH = 0x0001, 0x7075  # extra fields, sections 4.5.3 and 4.6.9


class TooManyEntries(Exception):
    """The archive has more entries than are looked at."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a local header or the directory says of an entry.

    names: all that programs may read. packed, unpacked: octets. data: where the
    header ends. local: where the local header stands.
    """

    names: tuple[str, ...]
    flags: int
    method: int
    packed: int
    unpacked: int
    data: int
    local: int


@dataclass(frozen=True, slots=True)
class ZipEntry:
    """A file in the archive. contradictory: header and directory say different things.

    stream: its content, or None when it is encrypted or packed in a way unknown here.
    """

    names: tuple[str, ...]
    encrypted: bool
    contradictory: bool
    stream: Stream | None


class Zip:
    """An archive's entries. complete: whether there is a directory, and all that it lists."""

    def __init__(self, content: bytes, most: int) -> None:
        """Reads the headers. most: entries that are accepted. Raises TooManyEntries."""
        self._content = content
        last = content.rfind(END)
        main = _directories(content, (), last, most)
        self._headers, whole = _local_headers(content, main, last, most)
        self._listed = _directories(content, whole, content.find(END), most)
        found = {header.local for header in self._headers}
        hidden = [_local(content, at) for at in self._listed.keys() - found]
        self.complete = bool(self._listed) and None not in hidden
        self._headers += [header for header in hidden if header is not None]
        self.names = tuple(
            name for one in (*self._listed.values(), *self._headers) for name in one.names
        )
        self.unpacked = sum(one.unpacked for one in self._listed.values())

    def __iter__(self) -> Iterator[ZipEntry]:
        """The entries; of those that are only listed, the names."""
        for header in self._headers:
            listed = self._listed.get(header.local, header)
            encrypted = bool(listed.flags & _ENCRYPTED)
            differ = encrypted != bool(header.flags & _ENCRYPTED) or listed.method != header.method
            names = tuple(dict.fromkeys((*listed.names, *header.names)))
            stream = None if encrypted else self._stream(header, listed)
            yield ZipEntry(names, encrypted, differ, stream)
        for at in self._listed.keys() - {header.local for header in self._headers}:
            yield ZipEntry(self._listed[at].names, False, False, None)

    def _stream(self, header: Header, listed: Header) -> Stream | None:
        if header.method == _STORED:
            return Stored(self._content, header.data, self._end(header, listed))
        if header.method == _DEFLATED:
            return inflated(self._content, header.data)
        if header.method == _BZIPPED:
            return unbzipped(self._content, header.data)
        return None

    def _end(self, header: Header, listed: Header) -> int:
        """Where a stored entry's content ends."""
        for size in (listed.packed, header.packed):
            if size and size != _UNKNOWN_SIZE:
                return header.data + size
        following = _ANY.search(self._content, header.data)
        return following.start() if following and header.flags & _SIZES_BEHIND else header.data


def _directories(content: bytes, whole: Sequence[range], end: int, most: int) -> dict[int, Header]:
    """What the directory that ends there and all behind it list, by the place of the local header.

    whole: where files stand; a directory in there is the file's own.
    """
    found: dict[int, Header] = {}
    looked_at = 0
    ranges = list(reversed(whole))
    while end >= 0:
        while ranges and ranges[-1].stop <= end:
            ranges.pop()
        if ranges and end in ranges[-1]:
            end = content.find(END, ranges.pop().stop)
            continue
        at, base = _directory(content, end)
        looked_at += 1
        while 0 <= at < end and (header := _entry(content, at, base)) is not None:
            found.setdefault(header.local, header)
            at = header.data
            looked_at += 1
            if looked_at > 2 * most:
                raise TooManyEntries
        end = content.find(END, end + 4) if looked_at <= 2 * most else -1
    if len(found) > most:
        raise TooManyEntries
    return found


def _directory(content: bytes, end: int) -> tuple[int, int]:
    """Where a directory begins, and from where its offsets count."""
    size, offset = struct.unpack("<II", content[end + 12 : end + 20].ljust(8, b"\0"))
    end64 = content.rfind(_END64, max(0, end - _END64_OCTETS), end)
    if end64 >= 0:
        size, offset = struct.unpack("<QQ", content[end64 + 40 : end64 + 56].ljust(16, b"\0"))
        end = end64
    return end - size, end - size - offset


def _local_headers(
    content: bytes, listed: Mapping[int, Header], last: int, most: int
) -> tuple[list[Header], list[range]]:
    """All local headers in order, but those inside a file that stands there whole; where those do.

    A file is whole when another header follows where it should end. listed: the
    main directory, which may know sizes. last: where that ends.
    """
    found: list[Header] = []
    whole: list[range] = []
    marks = 0
    at = content.find(LOCAL)
    while at >= 0:
        marks += 1
        header = _local(content, at)
        behind = at + len(LOCAL) if header is None else header.data
        if header is not None:
            found.append(header)
            end = header.data + (header.packed or listed.get(at, header).packed)
            if header.data < end <= last and _ANY.match(content, end):
                whole.append(range(header.data, end))
                behind = end
        if len(found) > most or marks > _MARKS * most:
            raise TooManyEntries
        at = content.find(LOCAL, behind)
    return found, whole


def _local(content: bytes, at: int) -> Header | None:
    """The local header there, or None when there is none."""
    fixed = content[at : at + _LOCAL.size]
    if at < 0 or len(fixed) < _LOCAL.size or not fixed.startswith(LOCAL):
        return None
    version, flags, method, packed, unpacked, name, extra = _LOCAL.unpack(fixed)
    if version & 0xFF > _MAX_VERSION:
        return None
    start = at + _LOCAL.size
    end = start + name + extra
    more = _extra(content[start + name : end])
    names = _names(content[start : start + name], more, flags)
    return Header(names, flags, method, *_sizes(packed, unpacked, more), end, at)


def _entry(content: bytes, at: int, base: int) -> Header | None:
    """The directory's entry there."""
    fixed = content[at : at + _LISTED.size]
    if len(fixed) < _LISTED.size or not fixed.startswith(LISTED):
        return None
    _, flags, method, packed, unpacked, name, extra, comment, offset = _LISTED.unpack(fixed)
    start = at + _LISTED.size
    end = start + name + extra
    more = _extra(content[start + name : end])
    names = _names(content[start : start + name], more, flags)
    packed, unpacked = _sizes(packed, unpacked, more)
    return Header(names, flags, method, packed, unpacked, end + comment, base + offset)


def _extra(octets: bytes) -> dict[int, bytes]:
    """The extra fields by their kind (section 4.5)."""
    found: dict[int, bytes] = {}
    at = 0
    while at + 4 <= len(octets):
        kind, size = struct.unpack_from("<HH", octets, at)
        found[kind] = octets[at + 4 : at + 4 + size]
        at += 4 + size
    return found


def _sizes(packed: int, unpacked: int, extra: dict[int, bytes]) -> tuple[int, int]:
    """The sizes, which may stand in an extra field (section 4.5.3)."""
    more = extra.get(_ZIP64, b"")
    if unpacked == _UNKNOWN_SIZE and len(more) >= 8:
        unpacked, more = int.from_bytes(more[:8], "little"), more[8:]
    if packed == _UNKNOWN_SIZE and len(more) >= 8:
        packed = int.from_bytes(more[:8], "little")
    return packed, unpacked


def _names(name: bytes, extra: dict[int, bytes], flags: int) -> tuple[str, ...]:
    """The name as programs may read it: also cut at a NUL, or out of an extra field."""
    text = name.decode("utf-8" if flags & _UTF8 else "cp437", "replace")
    names = [text, text.partition("\0")[0]]
    if _UNICODE_PATH in extra:
        names.append(extra[_UNICODE_PATH][5:].decode("utf-8", "replace"))
    return tuple(dict.fromkeys(names))
