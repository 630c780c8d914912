"""A message as bytes that never change, with parsed views made when first asked for."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from io import IncrementalNewlineDecoder
from typing import NamedTuple

from filterrelay.mail.mime import Part, parse_parts

_FIELD_END = re.compile(rb"\r\n(?![ \t])")
_BLANKS = (b" ", b"\t")
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
        longer = Message(self.id, b"".join([*fields, self.raw]))
        known = self.__dict__
        longer.__dict__["digests"] = self.digests
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

    def without_body(self) -> "Message":
        """The header section alone, for who only wants to know of the body what is known."""
        head = Message(self.id, self.raw[: self.header_end] + b"\r\n")
        head.__dict__.update(section=self.section, by_name=self.by_name, digests=self.digests)
        return head

    @property
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
        name, colon, _ = piece.partition(b":")
        name = name.rstrip(b" \t") if colon else b""
        if name.startswith(_BLANKS) or b"\r\n" in name:
            name = b""
        yield Header(name.decode("latin-1"), piece + b"\r\n")
