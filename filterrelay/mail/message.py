"""A message as bytes that never change, with parsed views made when first asked for."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from io import IncrementalNewlineDecoder
from typing import TYPE_CHECKING, NamedTuple

from filterrelay.mail.mime import Part, parse_parts

_FIELD_END = re.compile(rb"\r\n(?![ \t])")
_BLANKS = (b" ", b"\t")
_SHORT = 64  # octets of a field's name that is worth remembering
# A field (RFC 5322 section 2.2, with section 4.5's blanks), an mbox's first line, or the end.
_BEGINNING = re.compile(rb"[!-9;-~]+[ \t]*:|>?From |\r\n")


def is_clean(text: bytes | bytearray) -> bool:
    """Whether each CR has its LF and each LF its CR (RFC 5321 section 2.3.8), and NUL is nowhere.

    What one server takes for the end of a message and the next one doesn't would let
    mail be smuggled.
    """
    ends = IncrementalNewlineDecoder(None, translate=False)  # nothing else looks as fast
    ends.decode(text.decode("latin-1"), final=True)
    return ends.newlines in (None, "\r\n") and b"\0" not in text


class Header(NamedTuple):
    """One header field as it stands in the message.

    raw: the whole field, folding and final CRLF included. name: as written, empty for
    lines that are no field.
    """

    name: str
    raw: bytes

    @property
    def value(self) -> str:
        """The value unfolded and trimmed; octets beyond ASCII read as UTF-8, else Latin-1."""
        body = self.raw.partition(b":")[2].replace(b"\r\n", b"")
        try:
            return body.decode("utf-8").strip()
        except UnicodeDecodeError:
            return body.decode("latin-1").strip()


@dataclass(frozen=True)
class Message:
    """One message: exact bytes with CRLF line ends, parsed lazily and once.

    Not slotted, because the cached views live in the instance's dictionary.
    """

    id: str
    raw: bytes = field(repr=False)

    @classmethod
    def stored(cls, name: str, content: bytes) -> "Message":
        """A message from a file, with CRLF line ends whatever it had."""
        alike = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return cls(name, alike.replace(b"\n", b"\r\n"))

    if not TYPE_CHECKING:  # or any attribute would be taken for one that there is

        def __getattr__(self, name: str) -> bytes:
            """`raw` of a message that was put together from pieces, once somebody asks for it.

            Signed by one plugin after the other, a message needs no copy of its body each time.
            """
            if name != "raw":
                raise AttributeError(f"a message has no {name!r}", name=name, obj=self)
            known = self.__dict__
            pieces = known.get("pieces")  # which another thread may put together meanwhile
            if pieces is not None:
                known["raw"] = b"".join(pieces)
                known.pop("pieces", None)
            return known["raw"]

    def __len__(self) -> int:
        return len(self.raw)

    @cached_property
    def header_end(self) -> int:
        """The offset behind the header section, where the empty line stands."""
        if self.raw.startswith(b"\r\n"):
            return 0
        end = self.raw.find(b"\r\n\r\n")
        return len(self.raw) if end < 0 else end + 2

    @cached_property
    def body(self) -> bytes:
        """What follows the empty line behind the header section (a copy)."""
        return self.raw[self.header_end + 2 :]

    @cached_property
    def digests(self) -> dict[str, bytes]:
        """Digests of the body, by what was hashed; whoever makes one puts it here."""
        return {}

    @cached_property
    def section(self) -> tuple[Header, ...]:
        """The whole header section in order; what is no field in it is a header without name."""
        return tuple(_split(self.raw[: self.header_end]))

    @cached_property
    def headers(self) -> tuple[Header, ...]:
        """The header fields in order; lines that are no field are left out."""
        return tuple([header for header in self.section if header.name])

    @cached_property
    def by_name(self) -> dict[str, list[Header]]:
        """The header fields by their names in lower case, in order."""
        index: dict[str, list[Header]] = {}
        for header in self.headers:
            index.setdefault(header.name.lower(), []).append(header)
        return index

    def all(self, name: str) -> list[Header]:
        """The fields of that name, in order; letter case doesn't matter."""
        return self.by_name.get(name.lower(), [])

    def get(self, name: str) -> str:
        """The first such field's value, or empty."""
        found = self.by_name.get(name.lower())
        return found[0].value if found else ""

    def with_fields_on_top(self, fields: list[bytes]) -> "Message":
        """A new message with these whole fields first; what was parsed is kept.

        Only for a message that has a header section, be it an empty one.
        """
        known = self.__dict__
        longer = object.__new__(Message)
        longer.__dict__.update(
            id=self.id,
            pieces=[*fields, *(known.get("pieces") or [self.raw])],
            header_end=self.header_end + sum(map(len, fields)),
            has_section=True,
            digests=self.digests,
        )
        if "section" in known:
            added = [Header(raw.partition(b":")[0].decode("latin-1"), raw) for raw in fields]
            longer.__dict__["section"] = (*added, *self.section)
            if "by_name" in known:
                index = dict(self.by_name)
                for header in reversed(added):
                    key = header.name.lower()
                    index[key] = [header, *index.get(key, ())]
                longer.__dict__["by_name"] = index
        if "parts" in known:
            longer.__dict__["parts"] = self.parts
        return longer

    @cached_property
    def has_section(self) -> bool:
        """Whether it begins with a header section, be it an empty one.

        Another first line than a field is text already. Fields that are put above it must
        not touch it: beginning with a blank, it would go on with the lowest of them.
        """
        return _BEGINNING.match(self.raw) is not None

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The MIME leaf parts in order, decoded with limits on depth, number and size."""
        return parse_parts(self.raw)


def _split(section: bytes) -> Iterator[Header]:
    pieces = _FIELD_END.split(section)
    if not pieces[-1]:
        pieces.pop()
    for piece in pieces:
        octets, colon, _ = piece.partition(b":")
        name = ""
        if colon:
            name = _short_name(octets) if len(octets) <= _SHORT else _name(octets)
        yield Header(name, piece + b"\r\n")


def _name(octets: bytes) -> str:
    """A field's name as it stands before the colon; empty for what is none."""
    octets = octets.rstrip(b" \t")
    if octets.startswith(_BLANKS) or b"\r\n" in octets:
        return ""
    return octets.decode("latin-1")


_short_name = lru_cache(maxsize=512)(_name)  # most mail has the same few dozen
