"""A message as bytes that never change, with parsed views made when first asked for."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from filterrelay.mail.mime import Part, parse_parts

_LINE_END = re.compile(rb"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class Header:
    """One header field as it stands in the message.

    raw: the whole field, folding and final CRLF included. name: as written.
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
        return cls(name, _LINE_END.sub(b"\r\n", content))

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
    def headers(self) -> tuple[Header, ...]:
        """The header fields in order; lines that are no field are left out."""
        return tuple(_split_headers(self.raw[: self.header_end]))

    @cached_property
    def _by_name(self) -> dict[str, list[Header]]:
        index: dict[str, list[Header]] = {}
        for header in self.headers:
            index.setdefault(header.name.lower(), []).append(header)
        return index

    def all(self, name: str) -> list[Header]:
        """The fields of that name, in order; letter case doesn't matter."""
        return self._by_name.get(name.lower(), [])

    def get(self, name: str) -> str:
        """The first such field's value, or empty."""
        found = self._by_name.get(name.lower())
        return found[0].value if found else ""

    def with_fields_on_top(self, fields: list[bytes]) -> "Message":
        """A new message with these whole fields first; what was parsed is kept."""
        longer = Message(self.id, b"".join([*fields, self.raw]))
        known = self.__dict__
        if "headers" in known:
            added = [Header(raw.partition(b":")[0].decode("latin-1"), raw) for raw in fields]
            longer.__dict__["headers"] = (*added, *self.headers)
        if "parts" in known:
            longer.__dict__["parts"] = self.parts
        return longer

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The MIME leaf parts in order, decoded with limits on depth, number and size."""
        return parse_parts(self.raw)


def _split_headers(section: bytes) -> Iterator[Header]:
    lines = section.split(b"\r\n")
    start = 0
    count = len(lines) - 1 if lines and not lines[-1] else len(lines)
    while start < count:
        end = start + 1
        while end < count and lines[end][:1] in (b" ", b"\t"):
            end += 1
        name, colon, _ = lines[start].partition(b":")
        name = name.rstrip(b" \t")
        if colon and name and lines[start][:1] not in (b" ", b"\t"):
            raw = b"\r\n".join(lines[start:end]) + b"\r\n"
            yield Header(name.decode("latin-1"), raw)
        start = end
