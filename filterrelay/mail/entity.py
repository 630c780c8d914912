"""The header section of a MIME entity: what its Content- fields say, and where its body begins."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from filterrelay.mail.parameters import (
    MAX_VALUE,
    Parameter,
    first_word,
    media_type,
    parameters,
    token_of,
    values_of,
)
from filterrelay.mail.transfer import KNOWN

_NAME = re.compile(rb"(?!--)[!-9;-~]++[ \t]*+:")
_ENVELOPE = re.compile(rb">?From ")  # the line that an mbox file begins a message with
_UNFOLD = re.compile(rb"\r\n(?=[ \t])")
_CONTENT_FIELD = re.compile(rb"\r\ncontent-[a-z-]+[ \t]*:", re.IGNORECASE)
_DAMAGE = 4096  # octets behind a damaged line in which a part's header may go on
_MAX_FIELDS = 10  # of one name that are read

CONTRADICTION = "fields that contradict each other"
NO_FIELD = "a line in its header is no field"
NO_EMPTY_LINE = "no empty line behind its header"


@dataclass(frozen=True)
class Entity:
    """A header section read.

    content_type: in lower case, without parameters. encoding: the transfer
    encoding in lower case, or empty. types, dispositions, encodings: the values
    of those Content- fields, octets read as Latin-1; each should be there at
    most once. body: where the body begins. damage: what is wrong with the
    section as a whole, or empty.
    """

    content_type: str
    encoding: str
    types: tuple[str, ...]
    dispositions: tuple[str, ...]
    encodings: tuple[str, ...]
    body: int
    damage: str

    @property
    def disposition(self) -> str:
        """`attachment`, `inline`, another word in lower case, or empty."""
        return first_word(self.dispositions[0]) if self.dispositions else ""

    @cached_property
    def _parameters(self) -> tuple[Parameter, ...]:
        return tuple(one for value in self.types for one in parameters(value))

    @property
    def charset(self) -> str:
        """The charset that is declared."""
        return token_of(self._parameters, "charset") or "utf-8"

    @property
    def boundaries(self) -> frozenset[bytes]:
        """All that programs may take for the boundary; blanks at its end don't count."""
        own = [one for one in self._parameters if one.name == "boundary"]
        texts = {text for one in own for text in one.readings} | {*values_of(own, "boundary")}
        return frozenset(text.encode("latin-1", "replace").rstrip() for text in texts) - {b""}

    @property
    def names(self) -> tuple[str, ...]:
        """All names that the file may get, the likeliest first."""
        found: list[str] = []
        for values in (self.dispositions, self.types):
            named = [value for value in values if "name" in value.lower()]
            for value in named:
                given = parameters(value)
                found += values_of(given, "filename") + values_of(given, "name")
        return tuple(dict.fromkeys(found))

    @property
    def fault(self) -> str:
        """What is wrong with the header section or a field of it, or empty."""
        if self.damage:
            return self.damage
        if self.encoding not in KNOWN:
            return "an unknown transfer encoding"
        for values in (self.types, self.dispositions, self.encodings):
            if any(len(value) > MAX_VALUE for value in values):
                return "a field that is too long"
        if _differ(self.types, media_type) or _differ(self.encodings, first_word):
            return CONTRADICTION
        if self.content_type.startswith("multipart/") and self._has_two_boundaries():
            return CONTRADICTION
        return ""

    def _has_two_boundaries(self) -> bool:
        own = [one for one in self._parameters if one.name == "boundary"]
        sections = {one.section for one in own}
        if None in sections and len(sections) > 1:
            return True
        return len({(one.section, one.readings[0]) for one in own}) > len(sections)


def _differ(values: tuple[str, ...], meaning: Callable[[str], str]) -> bool:
    return len(values) > 1 and len({meaning(value) for value in values}) > 1


def read_entity(raw: bytes, start: int) -> Entity:
    """The entity whose header section begins there; it ends before the first line that is no field.

    Only when Content- fields stand behind that line, too, up to an empty one,
    it is taken for a damaged line amid the section.
    """
    if raw.startswith(b"\r\n", start):
        return Entity("text/plain", "", (), (), (), start + 2, "")
    end = _end_of_fields(raw, start)
    if raw.startswith(b"\r\n", end):
        return _entity(raw[start:end], end + 2, "")
    if end == len(raw) or raw.startswith(b"--", end):
        return _entity(raw[start:end], end, "")
    if (empty := _end_behind_damage(raw, start, end)) >= 0:
        return _entity(raw[start : empty + 2], empty + 4, NO_FIELD)
    return _entity(raw[start:end], end, "" if _is_harmless(raw, start, end) else NO_EMPTY_LINE)


def _end_of_fields(raw: bytes, start: int) -> int:
    """Where the first line begins that is no field and goes on with none.

    Line by line: one expression for all of them would need a possessive group, which
    Python 3.11 gets wrong in its early versions.
    """
    at = _end_of_line(raw, start) if _ENVELOPE.match(raw, start) else start
    first = at
    while _NAME.match(raw, at) or (at > first and raw.startswith((b" ", b"\t"), at)):
        at = _end_of_line(raw, at)
    return at


def _end_of_line(raw: bytes, at: int) -> int:
    end = raw.find(b"\r\n", at)
    return len(raw) if end < 0 else end + 2


def _end_behind_damage(raw: bytes, start: int, end: int) -> int:
    """The end of a section that goes on behind the line at `end`, or -1."""
    most = len(raw) if start == 0 else end + _DAMAGE
    empty = raw.find(b"\r\n\r\n", end, most)
    behind = raw[end : empty + 2] if empty >= 0 else b""
    is_one = start == 0 or b"\r\n--" not in behind
    return empty if is_one and _CONTENT_FIELD.search(behind) else -1


def _is_harmless(raw: bytes, start: int, end: int) -> bool:
    """Whether a section that no empty line ends comes from honest programs.

    They send texts without knowing of headers, and bounces with half a header.
    """
    if start == 0 and not _CONTENT_FIELD.search(b"\r\n" + raw[:end]):
        return True
    return raw.startswith(b"\r\n--", raw.find(b"\r\n", end))


def _entity(section: bytes, body: int, damage: str) -> Entity:
    found: dict[bytes, list[str]] = {}
    for line in _UNFOLD.sub(b"", section).split(b"\r\n"):
        if line[:8].lower() == b"content-":
            name, _, value = line.partition(b":")
            values = found.setdefault(name[8:].rstrip().lower(), [])
            if len(values) < _MAX_FIELDS:
                values.append(value.decode("latin-1"))
            else:
                damage = damage or CONTRADICTION
    types = tuple(found.get(b"type", ()))
    encodings = tuple(found.get(b"transfer-encoding", ()))
    return Entity(
        content_type=media_type(types[0]) if types else "text/plain",
        encoding=first_word(encodings[0]) if encodings else "",
        types=types,
        dispositions=tuple(found.get(b"disposition", ())),
        encodings=encodings,
        body=body,
        damage=damage,
    )
