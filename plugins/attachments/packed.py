"""What compressed octets unpack to, read past their errors as far as it goes."""

import bz2
import lzma
import re
import zlib
from collections.abc import Callable
from typing import Protocol

_FED = 4096  # packed octets handed over at a time
_UNPACKED = 64 * 1024  # octets unpacked at a time when they are only passed over
_XZ_MEMORY = 80 * 1024 * 1024  # octets; `xz -9` needs 65 MiB, used as far as it unpacks
_MAX_STREAMS = 10_000  # of one file
_ERRORS = (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError)
_GZIP = b"\x1f\x8b\x08"
_GZIP_CHECKSUM, _GZIP_EXTRA, _GZIP_NAME, _GZIP_COMMENT = 2, 4, 8, 16  # flags
_ZEROS = re.compile(rb"\0*+")


class _Unpacker(Protocol):
    """How bz2 and lzma have it."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    @property
    def needs_input(self) -> bool: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Inflater:
    """zlib's decompressor, for deflate without a header, as bz2 and lzma have theirs."""

    def __init__(self) -> None:
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)

    @property
    def eof(self) -> bool:
        return self._inflater.eof

    @property
    def unused_data(self) -> bytes:
        return self._inflater.unused_data

    @property
    def needs_input(self) -> bool:
        return not self._inflater.unconsumed_tail

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._inflater.decompress(self._inflater.unconsumed_tail + data, max_length)


class Packed:
    """A file unpacked as it is read: all its streams, one behind the other.

    damaged: whether it broke off; what comes before the damage is read.
    """

    def __init__(
        self,
        content: bytes,
        start: int,
        make: Callable[[], _Unpacker],
        opening: Callable[[bytes, int], int | None],
        trailer: int = 0,
    ) -> None:
        """opening: where the stream begins whose header stands there, or None for none.

        trailer: octets behind each stream.
        """
        self._content = content
        self._make = make
        self._opening = opening
        self._trailer = trailer
        self._streams = 0
        self._ended = False
        first = opening(content, start)
        self.damaged = first is None
        self._begin(first or start)

    def _begin(self, start: int) -> None:
        self._start = self._at = start
        self._unpacker = self._make()
        self._got = 0  # octets out of this stream
        self._streams += 1

    def read(self, size: int) -> bytes:
        """The next octets, at most so many; none at the end."""
        while not (self.damaged or self._ended):
            if self._unpacker.eof:
                self._next_stream()
                continue
            starved = self._is_starved()
            try:
                piece = self._step(size)
            except _ERRORS:
                self.damaged = True
                return self._salvaged(size)
            if piece:
                self._got += len(piece)
                return piece
            self.damaged = starved and not self._unpacker.eof  # it is cut off
        return b""

    @property
    def rest(self) -> bytes:
        """What stands behind the last stream, zeros left out."""
        return self._content[self._at :] if self._ended else b""

    def _next_stream(self) -> None:
        self._at += self._trailer - len(self._unpacker.unused_data)
        self.damaged = self._at > len(self._content) or self._streams > _MAX_STREAMS
        zeros = _ZEROS.match(self._content, self._at)
        assert zeros is not None  # it matches the empty text, too
        self._at = zeros.end()
        following = self._opening(self._content, self._at)
        if following is None:
            self._ended = True
        else:
            self._begin(following)

    def _is_starved(self) -> bool:
        return self._unpacker.needs_input and self._at >= len(self._content)

    def _step(self, size: int) -> bytes:
        fed = b""
        if self._unpacker.needs_input:
            fed = self._content[self._at : self._at + _FED]
            self._at += len(fed)
        return self._unpacker.decompress(fed, size)

    def _salvaged(self, size: int) -> bytes:
        """What the failed step would have given before the damage, had octet by octet."""
        passed = self._got
        self._begin(self._start)
        pieces: list[bytes] = []
        try:
            while passed > 0 and not self._is_starved():
                passed -= len(self._step(min(passed, _UNPACKED)))
            while len(pieces) < size and not self._unpacker.eof:
                pieces.append(self._step(1))
        except _ERRORS:
            pass  # that is where the damage stands
        return b"".join(pieces)


class Stored:
    """A file that isn't packed, in the middle of other octets."""

    def __init__(self, content: bytes, start: int, end: int) -> None:
        self._content = content
        self._at = start
        self._end = min(end, len(content))
        self.damaged = end > len(content)

    def read(self, size: int) -> bytes:
        """The next octets, at most so many; none at the end."""
        piece = self._content[self._at : min(self._at + size, self._end)]
        self._at += len(piece)
        return piece


Stream = Packed | Stored


def gzip_name(content: bytes) -> str:
    """The name that the file had before it was packed, or empty (RFC 1952 section 2.3.1)."""
    header = _gzip_header(content, 0)
    return header[1].decode("utf-8", "replace") if header else ""


def _gzip_header(content: bytes, at: int) -> tuple[int, bytes] | None:
    """Where the header there ends, and the name in it. No checksum is looked at."""
    if not content.startswith(_GZIP, at) or at + 10 > len(content):
        return None
    flags, end, texts = content[at + 3], at + 10, [b"", b""]
    if flags & _GZIP_EXTRA:
        end += 2 + int.from_bytes(content[end : end + 2], "little")
    for number, flag in enumerate((_GZIP_NAME, _GZIP_COMMENT)):
        if flags & flag:
            stop = content.find(b"\0", end)
            if stop < 0:
                return None
            texts[number] = content[end:stop]
            end = stop + 1
    return end + (2 if flags & _GZIP_CHECKSUM else 0), texts[0]


def _gzip_stream(content: bytes, at: int) -> int | None:
    header = _gzip_header(content, at)
    return header[0] if header else None


def _marked(mark: bytes) -> Callable[[bytes, int], int | None]:
    return lambda content, at: at if content.startswith(mark, at) else None


def ungzipped(content: bytes) -> Packed:
    """A gzip file (RFC 1952), which may have several members."""
    return Packed(content, 0, _Inflater, _gzip_stream, trailer=8)


def inflated(content: bytes, start: int) -> Packed:
    """Deflated octets (RFC 1951) that begin there."""
    return Packed(content, start, _Inflater, lambda _, at: at if at == start else None)


def unbzipped(content: bytes, start: int = 0) -> Packed:
    """A bzip2 file, which may have several streams."""
    return Packed(content, start, bz2.BZ2Decompressor, _marked(b"BZh"))


def unxzed(content: bytes) -> Packed:
    """An xz file, which may have several streams, with padding between."""
    return Packed(content, 0, _unxzer, _marked(b"\xfd7zXZ\x00"))


def _unxzer() -> _Unpacker:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)
