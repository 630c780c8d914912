"""MIME parts read from raw bytes, with limits that a hostile message can't pass.

The standard library's parser reads line by line, has no limits and recurses; a
filter at the door can afford none of the three, so the tree is cut here in one
pass that stops at boundary lines only, and its leaves are decoded when first
asked for.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

from filterrelay.mail.entity import Entity, read_entity
from filterrelay.mail.transfer import UUENCODE, decoded, decoded_beginning, uuencoded_names
from filterrelay.mail.words import as_text

MAX_DEPTH = 20  # nested multiparts; real mail stays below 8
MAX_PARTS = 500  # leaves
MAX_DECODED = 64 * 1024 * 1024  # bytes of one part
KEPT = 1024 * 1024  # octets of a part up to which its decoded content is kept
MAX_BOUNDARY = 200  # octets; RFC 2046 section 5.1.1 allows 70
MAX_LIKENESSES = 100_000  # lines that begin as a boundary and are none

TOO_MANY_PARTS = "too many parts"
TOO_DEEP = "nested too deeply"
TOO_MANY_LIKENESSES = "too many lines like a boundary"
NO_PARTS = "multipart without parts"

_MESSAGES = ("message/rfc822", "message/global")


@dataclass(frozen=True)
class Part:
    """One leaf of the MIME tree, or what there is to say of a container.

    content_type: lower case, without parameters. filename: as declared, decoded,
    or empty. names: all that mail programs may read as its name. disposition:
    `attachment`, `inline` or empty. depth: 0 when the message is no multipart.
    raw, start, end: where it stands, as it came; copying it would double what a large
    message takes. broken: what is wrong with it, or empty. A container (a multipart, a
    message) that has a name or is broken stands before its leaves, without content.
    """

    content_type: str
    filename: str
    disposition: str
    charset: str
    encoding: str
    depth: int
    raw: bytes = field(repr=False)
    start: int
    end: int
    broken: str = ""
    names: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """How many octets it has as it came."""
        return self.end - self.start

    @property
    def content(self) -> bytes:
        """The decoded bytes, at most MAX_DECODED; those of a large part are decoded at each use."""
        return self._kept if self.size <= KEPT else self._decoded()

    @cached_property
    def _kept(self) -> bytes:
        return self._decoded()

    def _decoded(self) -> bytes:
        encoded = self.raw[self.start : min(self.end, self.start + MAX_DECODED * 2)]
        return decoded(encoded, self.encoding)[:MAX_DECODED]

    @property
    def text(self) -> str:
        """The content as text by its charset, else as UTF-8, else as Latin-1."""
        return as_text(self.content, self.charset)

    def beginning(self, octets: int) -> str:
        """The text of about the first so many octets, without decoding the rest."""
        encoded = self.raw[self.start : min(self.end, self.start + 2 * octets)]
        content = decoded_beginning(encoded, self.encoding, octets)
        return as_text(content, self.charset, final=len(content) < octets)

    @property
    def is_text(self) -> bool:
        """Whether it is text for reading rather than an attachment."""
        return self.content_type.startswith("text/") and self.disposition != "attachment"


def parse_parts(raw: bytes) -> tuple[Part, ...]:
    """The leaves in order; beyond a limit the rest is one leaf that says so in `broken`."""
    return tuple(_Tree(raw).read())


@dataclass(slots=True)
class _Multipart:
    """An open multipart. boundaries: those that none around it has taken."""

    entity: Entity
    depth: int
    boundaries: tuple[bytes, ...]
    has_children: bool = False


@dataclass(frozen=True, slots=True)
class _Delimiter:
    """A delimiter line (RFC 2046 section 5.1.1). start: before its CRLF; end: behind its own."""

    level: int
    start: int
    end: int
    closing: bool


class _Tree:
    """One pass over a message, with the multiparts that are open at that place."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._leaves: list[Part] = []
        self._open: list[_Multipart] = []
        self._levels: dict[bytes, int] = {}  # of the open multiparts, by boundary
        self._mark = b""  # how all delimiter lines begin
        self._likenesses = MAX_LIKENESSES
        self._leaf: tuple[Entity, int, str] | None = None  # begun: entity, depth, what is wrong

    def read(self) -> list[Part]:
        """The leaves in order."""
        at = self._begin(0, 0, "text/plain")
        while (line := self._next_delimiter(at)) is not None:
            self._end_leaf(line.start)
            self._close(line.level + 1, line.start)
            at = line.end
            if line.closing:  # what stands behind it is read on: some programs do
                self._likenesses -= 1
                continue
            if len(self._leaves) >= MAX_PARTS:
                self._leaf = (_nothing_said(line.end), 0, TOO_MANY_PARTS)
                break
            around = self._open[line.level]
            around.has_children = True
            is_digest = around.entity.content_type == "multipart/digest"
            default = _MESSAGES[0] if is_digest else "text/plain"  # RFC 2046 section 5.1.5
            at = self._begin(line.end, around.depth + 1, default)
        if self._likenesses < 0:
            entity, depth, _ = self._leaf or (_nothing_said(at), 0, "")
            self._leaf = (entity, depth, TOO_MANY_LIKENESSES)
        self._end_leaf(len(self._raw))
        self._close(0, len(self._raw))
        return self._leaves

    def _begin(self, start: int, depth: int, default: str) -> int:
        """Reads a header section and, if it is a message's, the one in it; where to go on.

        default: the media type when none is said.
        """
        while True:
            entity = read_entity(self._raw, start)
            kind = entity.content_type if entity.types else default
            is_multipart = kind.startswith("multipart/")
            is_message = kind in _MESSAGES and entity.encoding not in ("base64", "quoted-printable")
            if depth >= MAX_DEPTH and (is_multipart or is_message):
                self._leaf = (entity, depth, TOO_DEEP)
            elif is_multipart:
                self._open_multipart(entity, depth)
            elif is_message:
                self._note_container(entity, depth)
                start, depth, default = entity.body, depth + 1, "text/plain"
                continue
            else:
                self._leaf = (entity, depth, "")
            return max(entity.body - 2, 0)  # its first line may be a delimiter already

    def _open_multipart(self, entity: Entity, depth: int) -> None:
        free = tuple(mark for mark in entity.boundaries if mark not in self._levels)
        self._levels.update(dict.fromkeys(free, len(self._open)))
        self._open.append(_Multipart(entity, depth, free))
        self._mark = _mark(self._levels)
        self._note_container(entity, depth)

    def _note_container(self, entity: Entity, depth: int) -> None:
        if entity.fault or entity.names:
            self._leaves.append(_part(entity, self._raw, entity.body, depth, ""))

    def _next_delimiter(self, at: int) -> _Delimiter | None:
        """The next line that delimits parts of an open multipart."""
        raw = self._raw
        while self._levels and self._likenesses >= 0:
            start = raw.find(self._mark, at)
            if start < 0:
                return None
            end = raw.find(b"\r\n", start + 4)
            end = len(raw) if end < 0 else end
            text = raw[start + 4 : min(end, start + 4 + MAX_BOUNDARY)].rstrip()
            for boundary, closing in ((text, False), (text.removesuffix(b"--").rstrip(), True)):
                if boundary in self._levels:
                    after = min(end + 2, len(raw))
                    return _Delimiter(self._levels[boundary], start, after, closing)
            self._likenesses -= 1
            at = end
        return None

    def _end_leaf(self, end: int) -> None:
        if self._leaf is not None:
            entity, depth, broken = self._leaf
            end = max(entity.body, end)
            self._leaves.append(_part(entity, self._raw, end, depth, broken))
            self._leaf = None

    def _close(self, level: int, end: int) -> None:
        """Closes the multiparts from that level on; one without parts is a leaf."""
        if len(self._open) <= level:
            return
        while len(self._open) > level:
            closed = self._open.pop()
            for boundary in closed.boundaries:
                del self._levels[boundary]
            if not closed.has_children:
                self._leaf = (closed.entity, closed.depth, NO_PARTS)
                self._end_leaf(end)
        self._mark = _mark(self._levels)


def _nothing_said(start: int) -> Entity:
    """What begins there without a header section."""
    return Entity("text/plain", "", (), (), (), start, "")


def _mark(boundaries: Iterable[bytes]) -> bytes:
    """How each of their delimiter lines begins, with the line end before it."""
    least, most = min(boundaries, default=b""), max(boundaries, default=b"")
    same = 0
    while same < len(least) and least[same] == most[same]:
        same += 1
    return b"\r\n--" + least[:same]


def _part(entity: Entity, raw: bytes, end: int, depth: int, broken: str) -> Part:
    names = entity.names
    if entity.encoding in UUENCODE:
        packed = uuencoded_names(raw[entity.body : end], MAX_PARTS + 1)
        broken = broken or (TOO_MANY_PARTS if len(packed) > MAX_PARTS else "")
        names = tuple(dict.fromkeys((*names, *packed)))
    return Part(
        content_type=entity.content_type,
        filename=names[0] if names else "",
        disposition=entity.disposition,
        charset=entity.charset,
        encoding=entity.encoding,
        depth=depth,
        raw=raw,
        start=entity.body,
        end=end,
        broken=broken or entity.fault,
        names=names,
    )
