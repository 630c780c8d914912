"""Looking into files and archives, within bounds on depth, number, octets and time."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

from filterrelay_plugins.attachments.kinds import (
    CONTAINERS,
    HEAD,
    OPAQUE,
    ends_as_zip,
    has_ole_macros,
    is_eicar,
    kind_of,
)
from filterrelay_plugins.attachments.names import bare_name, blocked_ending, disguise

_BLOCK = 64 * 1024  # octets decompressed at a time
_XZ_MEMORY = 64 * 1024 * 1024  # octets that an xz dictionary may take
_BOMB = 250  # times its own size: honest files seldom shrink that much
_ZIP_ENCRYPTED = 0x1  # general purpose bit 0, APPNOTE.TXT section 4.4.4
_ZIP_END = b"PK\x05\x06"  # the end of central directory record, section 4.3.16
_ZIP_ENTRY = 46 + 1024  # octets of a directory entry with ample names

# All that the standard library raises over archives that were made to break it.
_BROKEN = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, tarfile.TarError, OSError, EOFError),
    *(ValueError, NotImplementedError, RuntimeError, OverflowError, LookupError),
)


@dataclass(frozen=True, slots=True)
class Objection:
    """One thing to object to.

    kind: `virus`, `blocked`, `disguised`, `macros`, `encrypted`, `unreadable`,
    `beyond-limits` or `broken`. file: its name, below those of the archives it
    is in. why: what a person reads.
    """

    kind: str
    file: str
    why: str


@dataclass(frozen=True, slots=True)
class Rules:
    """What to object to, and how far to look.

    members, octets: of all archives of one message together.
    """

    endings: frozenset[str]
    kinds: frozenset[str]
    hashes: frozenset[str]
    depth: int
    members: int
    octets: int


class TooMuch(Exception):
    """A bound was passed; the text says which."""


class _Damaged(Exception):
    """The archive can't be read."""


class _Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...


class Inspection:
    """One message's files looked at, with what may still be spent on them."""

    def __init__(self, rules: Rules, time_left: Callable[[], float]) -> None:
        """time_left: seconds until the inspection must end."""
        self._rules = rules
        self._time_left = time_left
        self._members = rules.members
        self._octets = rules.octets
        self.objections: list[Objection] = []

    def inspect(self, name: str, declared: str, content: bytes) -> None:
        """Looks at one attachment. declared: the media type it claims."""
        if declared in self._rules.kinds:
            self._object("blocked", name, f"files of the type {declared} are not accepted")
        self._look(name, name, content, 0)

    def _object(self, kind: str, file: str, why: str) -> None:
        self.objections.append(Objection(kind, file, why))

    def _look(self, path: str, name: str, content: bytes, depth: int) -> None:
        """Looks at one whole file."""
        kind = self._look_at_head(path, name, content)
        if is_eicar(content):
            self._object("virus", path, "it is the EICAR test virus")
        if self._rules.hashes and sha256(content).hexdigest() in self._rules.hashes:
            self._object("blocked", path, "it is on the list of blocked files")
        if kind == "application/x-ole-storage" and has_ole_macros(content):
            self._object("macros", path, "it has macros")
        if kind in OPAQUE:
            self._object("unreadable", path, f"it is {kind}, which can't be looked into")
        try:
            self._open(path, name, kind, content, depth)
        except TooMuch as bound:
            self._object("beyond-limits", path, str(bound))
        except _Damaged:
            self._object("unreadable", path, "it is damaged")

    def _look_at_head(self, path: str, name: str, head: bytes) -> str:
        """Objects to what the name and the first octets say; the kind is returned."""
        if why := disguise(name):
            self._object("disguised", path, why)
        if last := blocked_ending(name, self._rules.endings):
            self._object("blocked", path, f".{last} files are not accepted")
        kind = kind_of(head)
        if kind in self._rules.kinds:
            self._object("blocked", path, f"it is {kind}, which is not accepted")
        return kind

    def _open(self, path: str, name: str, kind: str, content: bytes, depth: int) -> None:
        """Looks at what is inside, if it is an archive. Raises TooMuch, _Damaged."""
        if kind not in CONTAINERS and not ends_as_zip(content):
            return
        if depth >= self._rules.depth and kind != "application/x-ole-storage":
            raise TooMuch(f"it is nested more than {self._rules.depth} deep")
        match kind:
            case "application/x-ole-storage":
                pass
            case "application/x-tar":
                self._tar(path, content, depth + 1)
            case "application/gzip":
                self._unpacked(path, name, gzip.GzipFile(fileobj=io.BytesIO(content)), depth + 1)
            case "application/x-bzip2":
                self._unpacked(path, name, bz2.BZ2File(io.BytesIO(content)), depth + 1)
            case "application/x-xz":
                self._unpacked(path, name, _XzStream(content), depth + 1)
            case "application/zip":
                self._zip(path, content, depth + 1)
            case _:
                self._hidden_zip(path, content, depth + 1)

    def _hidden_zip(self, path: str, content: bytes, depth: int) -> None:
        """A ZIP behind something else; what only looks like one is no damage."""
        try:
            self._zip(path, content, depth)
        except _Damaged:
            return

    def _zip(self, path: str, content: bytes, depth: int) -> None:
        """The members of a ZIP, or of a document that is one (OOXML, ODF, JAR)."""
        archive = _open_zip(content, self._members, self._rules)
        entries = archive.infolist()
        unpacked = sum(info.file_size for info in entries)
        if unpacked > max(self._rules.octets, _BOMB * len(content)):
            raise TooMuch(f"it would unpack to {unpacked} octets")
        if any(_holds_macros(info.filename) for info in entries):
            self._object("macros", path, "it has macros")
        for info in entries:
            self._count_member()
            if info.filename.endswith("/") or _holds_macros(info.filename):
                continue
            inner = f"{path}/{info.filename}"
            if info.flag_bits & _ZIP_ENCRYPTED:
                self._look_at_head(inner, info.filename, b"")
                self._object("encrypted", inner, "it is encrypted")
                continue
            try:
                with archive.open(info) as stream:
                    self._member(inner, info.filename, stream, depth)
            except (*_BROKEN, _Damaged):
                self._look_at_head(inner, info.filename, b"")
                self._object("unreadable", inner, "it is damaged")

    def _tar(self, path: str, content: bytes, depth: int) -> None:
        try:
            with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
                for info in archive:
                    self._count_member()
                    if info.isfile() and (stream := archive.extractfile(info)) is not None:
                        self._member(f"{path}/{info.name}", info.name, stream, depth)
        except _BROKEN as error:
            raise _Damaged from error

    def _unpacked(self, path: str, name: str, stream: _Stream, depth: int) -> None:
        """The one file that gzip, bzip2 or xz has packed."""
        self._count_member()
        stem, _, last = bare_name(name).rpartition(".")
        inner = f"{stem}.tar" if last in ("tgz", "tbz", "tbz2", "txz") else stem or name
        self._member(f"{path}/{inner}", inner, stream, depth)

    def _member(self, path: str, name: str, stream: _Stream, depth: int) -> None:
        """Looks at a file in an archive; its content is read only as far as it matters."""
        head = self._read(stream, HEAD)
        whole = len(head) < HEAD
        if whole or self._rules.hashes or kind_of(head) in CONTAINERS:
            rest = b"" if whole else self._read(stream, self._octets + 1)
            self._look(path, name, head + rest, depth)
        else:
            self._look_at_head(path, name, head)

    def _count_member(self) -> None:
        self._members -= 1
        if self._members < 0:
            raise TooMuch(f"there are more than {self._rules.members} files in archives")
        self._check_time()

    def _check_time(self) -> None:
        if self._time_left() <= 0:
            raise TooMuch("looking into it takes too long")

    def _read(self, stream: _Stream, most: int) -> bytes:
        """The next octets of the stream, at most so many. Raises TooMuch, _Damaged."""
        pieces: list[bytes] = []
        while most > 0:
            try:
                piece = stream.read(min(_BLOCK, most))
            except _BROKEN as error:
                raise _Damaged from error
            if not piece:
                break
            pieces.append(piece)
            most -= len(piece)
            self._octets -= len(piece)
            if self._octets < 0:
                raise TooMuch(f"it unpacks to more than {self._rules.octets} octets")
            self._check_time()
        return b"".join(pieces)


class _XzStream:
    """What an xz file unpacks to; LZMAFile would let its dictionary take all memory."""

    def __init__(self, content: bytes) -> None:
        self._rest = content
        self._decompressor = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)

    def read(self, size: int, /) -> bytes:
        if self._decompressor.eof:
            return b""
        packed, self._rest = self._rest, b""
        unpacked = self._decompressor.decompress(packed, size)
        if not unpacked and not self._decompressor.eof:
            raise EOFError("the file is cut off")
        return unpacked


def _open_zip(content: bytes, members: int, rules: Rules) -> zipfile.ZipFile:
    """The archive, its directory read unless that alone is too long. Raises TooMuch, _Damaged."""
    end = content.rfind(_ZIP_END)
    if end < 0:
        raise _Damaged
    count = int.from_bytes(content[end + 10 : end + 12], "little")
    size = int.from_bytes(content[end + 12 : end + 16], "little")
    if count > members or size > members * _ZIP_ENTRY:
        raise TooMuch(f"there are more than {rules.members} files in archives")
    try:
        return zipfile.ZipFile(io.BytesIO(content))
    except _BROKEN as error:
        raise _Damaged from error


def _holds_macros(name: str) -> bool:
    """Whether an office document's member holds macros: VBA, Excel 4's, or OpenDocument's."""
    lowered = name.lower()
    return (
        lowered.endswith("vbaproject.bin")
        or "/macrosheets/" in lowered
        or (lowered.startswith("basic/") and lowered.endswith(".xml"))
    )
