"""Looking into files, archives and attached messages, within bounds on depth, number and octets.

What is damaged is read on past the damage, and judged as far as it goes: the
recipient's program may be no less patient.
"""

import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from filterrelay_plugins.attachments.kinds import (
    CONTAINERS,
    EICAR_MOST,
    HEAD,
    OPAQUE,
    has_ole_macros,
    holds_zip,
    is_eicar,
    kind_of,
)
from filterrelay_plugins.attachments.names import (
    bare_name,
    blocked_ending,
    disguise,
    is_message_name,
)
from filterrelay_plugins.attachments.packed import (
    Packed,
    Stored,
    Stream,
    gzip_name,
    unbzipped,
    ungzipped,
    unxzed,
)
from filterrelay_plugins.attachments.tars import Tar
from filterrelay_plugins.attachments.zips import TooManyEntries, Zip

from filterrelay.mail.mime import TOO_DEEP, TOO_MANY_LIKENESSES, TOO_MANY_PARTS, parse_parts
from filterrelay.plugin import Part

_BLOCK = 64 * 1024  # octets decompressed at a time
_BOMB = 250  # times its own size: honest files seldom shrink that much
_MESSAGES = ("message/rfc822", "message/global")
_UNSEEN = (TOO_MANY_PARTS, TOO_DEEP, TOO_MANY_LIKENESSES)  # Part.broken of what wasn't parsed
_UNPACKERS: dict[str, Callable[[bytes], Packed]] = {
    "application/gzip": ungzipped,
    "application/x-bzip2": unbzipped,
    "application/x-xz": unxzed,
}


@dataclass(frozen=True, slots=True)
class Objection:
    """One thing to object to.

    kind: `virus`, `blocked`, `disguised`, `macros`, `encrypted`, `unsupported`,
    `unreadable`, `beyond-limits` or `broken`. file: its name, below those of the archives it
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


def is_plain_reading(part: Part) -> bool:
    """Whether nothing in the part can be a file: text that is shown, not saved."""
    if part.names or part.broken or not part.is_text:
        return False
    return part.size > 3 * EICAR_MOST or not is_eicar(part.content)


def is_message(part: Part) -> bool:
    """Whether mail programs open the part as a message with parts of its own."""
    return part.content_type in _MESSAGES or any(is_message_name(name) for name in part.names)


class Inspection:
    """One message's files looked at, with what may still be spent on them."""

    def __init__(self, rules: Rules, time_left: Callable[[], float]) -> None:
        """time_left: seconds until the inspection must end."""
        self._rules = rules
        self._time_left = time_left
        self._members = rules.members
        self._octets = rules.octets
        self.objections: list[Objection] = []

    def inspect(self, part: Part) -> None:
        """Looks at one part of the message."""
        self._part("", part, 0)

    def _part(self, folder: str, part: Part, depth: int) -> None:
        """Looks at a part of the message, or of one in it. folder: what its path begins with."""
        names = part.names or (f"unnamed {part.content_type}",)
        path = folder + names[0]
        if part.broken:
            self._object("beyond-limits" if part.broken in _UNSEEN else "broken", path, part.broken)
        if part.content_type == "message/partial":  # RFC 2046 section 5.2.2
            self._object("unreadable", path, "it is a piece of what comes in several messages")
        if part.content_type in self._rules.kinds:
            self._object("blocked", path, f"files of the type {part.content_type} are not accepted")
        self._look(path, names, part.content, depth, message=is_message(part))

    def _object(self, kind: str, file: str, why: str) -> None:
        self.objections.append(Objection(kind, file, why))

    def _look(
        self, path: str, names: Sequence[str], content: bytes, depth: int, *, message: bool
    ) -> None:
        """Looks at one whole file. message: whether it is opened as a message."""
        kind = self._look_at_head(path, names, content)
        if is_eicar(content):
            self._object("virus", path, "it is the EICAR test virus")
        if self._rules.hashes and sha256(content).hexdigest() in self._rules.hashes:
            self._object("blocked", path, "it is on the list of blocked files")
        if kind == "application/x-ole-storage" and has_ole_macros(content):
            self._object("macros", path, "it has macros")
        if kind in OPAQUE:
            self._object("unsupported", path, f"it is {kind}, which can't be looked into")
        try:
            if message and content:
                self._message(path, content, depth + 1)
            self._open(path, names[0], kind, content, depth + 1)
        except TooMuch as bound:
            self._object("beyond-limits", path, str(bound))

    def _look_at_head(self, path: str, names: Iterable[str], head: bytes) -> str:
        """Objects to what the names and the first octets say; the kind is returned."""
        for name in names:
            if why := disguise(name):
                self._object("disguised", path, why)
            if last := blocked_ending(name, self._rules.endings):
                self._object("blocked", path, f".{last} files are not accepted")
        kind = kind_of(head)
        if kind in self._rules.kinds:
            self._object("blocked", path, f"it is {kind}, which is not accepted")
        return kind

    def _open(self, path: str, name: str, kind: str, content: bytes, depth: int) -> None:
        """Looks at what is inside, if it is an archive. Raises TooMuch."""
        if kind in _UNPACKERS:
            self._check_depth(depth)
            self._unpacked(path, name, gzip_name(content), _UNPACKERS[kind](content), depth)
        elif kind == "application/x-tar":
            self._check_depth(depth)
            self._tar(path, content, depth)
        elif kind == "application/zip" or holds_zip(content):
            self._check_depth(depth)
            self._zip(path, content, depth, certain=kind == "application/zip")

    def _message(self, path: str, content: bytes, depth: int) -> None:
        """The parts of an attached message."""
        self._check_depth(depth)
        lines = content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        for part in parse_parts(lines):
            self._count_member()
            if not is_plain_reading(part):
                self._spend(part.size)
                self._part(f"{path}/", part, depth)

    def _zip(self, path: str, content: bytes, depth: int, *, certain: bool) -> None:
        """The members of a ZIP, or of a document that is one (OOXML, ODF, JAR).

        certain: whether it must be one; else what only looks like one is no damage.
        """
        try:
            archive = Zip(content, self._members)
        except TooManyEntries:
            raise self._too_many() from None
        if archive.unpacked > max(self._rules.octets, _BOMB * len(content)):
            raise TooMuch(f"it would unpack to {archive.unpacked} octets")
        if any(_holds_macros(name) for name in archive.names):
            self._object("macros", path, "it has macros")
        for entry in archive:
            self._count_member()
            if all(name.endswith("/") or _holds_macros(name) for name in entry.names):
                continue
            inner = f"{path}/{entry.names[0]}"
            if entry.contradictory:
                self._object("unreadable", inner, "the archive says different things about it")
            if entry.stream is not None:
                self._member(inner, entry.names, entry.stream, depth)
                continue
            self._look_at_head(inner, entry.names, b"")
            if entry.encrypted:
                self._object("encrypted", inner, "it is encrypted")
            else:
                self._object("unreadable", inner, "it can't be unpacked")
        if certain and not archive.complete:
            self._object("unreadable", path, "it is damaged")

    def _tar(self, path: str, content: bytes, depth: int) -> None:
        archive = Tar(content)
        for member in archive:
            self._count_member()
            stream = Stored(content, member.start, member.end)
            self._member(f"{path}/{member.name}", (member.name,), stream, depth)
        if archive.damaged:
            self._object("unreadable", path, "it is damaged")
        self._rest(path, archive.rest, depth)

    def _unpacked(self, path: str, name: str, original: str, stream: Packed, depth: int) -> None:
        """The one file that gzip, bzip2 or xz has packed. original: its name in a gzip header."""
        self._count_member()
        stem, _, last = bare_name(name).rpartition(".")
        inner = f"{stem}.tar" if last in ("tgz", "tbz", "tbz2", "txz") else stem or name
        names = (inner, original) if original else (inner,)
        self._member(f"{path}/{inner}", names, stream, depth)
        self._rest(path, stream.rest, depth)

    def _rest(self, path: str, content: bytes, depth: int) -> None:
        """What stands behind an archive's end: programs may find another one there."""
        if content:
            self._look(f"{path}/rest", ("rest",), content, depth, message=False)

    def _member(self, path: str, names: Sequence[str], stream: Stream, depth: int) -> None:
        """Looks at a file in an archive; its content is read only as far as it matters."""
        content = self._read(stream, HEAD)
        message = any(is_message_name(name) for name in names)
        whole = len(content) < HEAD
        if not whole and (message or self._rules.hashes or kind_of(content) in CONTAINERS):
            content = self._read(stream, self._octets + 1, content)
            whole = True
        if whole:
            self._look(path, names, content, depth, message=message)
        else:
            self._look_at_head(path, names, content)
        if stream.damaged:
            self._object("unreadable", path, "it is damaged")

    def _check_depth(self, depth: int) -> None:
        if depth > self._rules.depth:
            raise TooMuch(f"it is nested more than {self._rules.depth} deep")

    def _count_member(self) -> None:
        self._members -= 1
        if self._members < 0:
            raise self._too_many()
        self._check_time()

    def _too_many(self) -> TooMuch:
        return TooMuch(f"there are more than {self._rules.members} files in archives")

    def _check_time(self) -> None:
        if self._time_left() <= 0:
            raise TooMuch("looking into it takes too long")

    def _spend(self, octets: int) -> None:
        self._octets -= octets
        if self._octets < 0:
            raise TooMuch(f"it unpacks to more than {self._rules.octets} octets")
        self._check_time()

    def _read(self, stream: Stream, most: int, begun: bytes = b"") -> bytes:
        """What was begun and the next octets of the stream, at most so many. Raises TooMuch."""
        read = io.BytesIO()  # which gives its octets away without copying them
        read.write(begun)
        while most > 0 and (piece := stream.read(min(_BLOCK, most))):
            read.write(piece)
            most -= len(piece)
            self._spend(len(piece))
        return read.getvalue()


def _holds_macros(name: str) -> bool:
    """Whether an office document's member holds macros: VBA, Excel 4's, or OpenDocument's."""
    lowered = name.lower()
    return (
        lowered.endswith("vbaproject.bin")
        or "/macrosheets/" in lowered
        or (lowered.startswith("basic/") and lowered.endswith(".xml"))
    )
