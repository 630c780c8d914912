"""DKIM's canonical forms of header fields and bodies, quick where there is nothing to change.

Most bodies already stand in canonical form, which three plain searches tell;
regular expressions over them would cost many times the hash itself.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from functools import lru_cache
from typing import Literal, Protocol

Canonical = Literal["simple", "relaxed"]

_BLANKS = re.compile(rb"[\t ]+")
_RUNS = (b" " * 16, b" " * 4, b"  ")
_SHORT = 1024  # octets of a field whose relaxed form is worth remembering
_EMPTY_LINES = b"\r\n" * 512  # a body may end in megabytes of them


class Field(Protocol):
    """One header field: its name as written, and its bytes with folding and final CRLF."""

    @property
    def name(self) -> str:
        """The name as written."""
        ...

    @property
    def raw(self) -> bytes:
        """The whole field."""
        ...


class Mail(Protocol):
    """What DKIM sees of a message: its bytes, where the header section ends, its fields."""

    @property
    def raw(self) -> bytes:
        """The whole message with CRLF line ends."""
        ...

    @property
    def header_end(self) -> int:
        """The offset of the empty line behind the header section."""
        ...

    @property
    def digests(self) -> MutableMapping[str, bytes]:
        """Digests of its body that were made already, by their canonical form."""
        ...

    @property
    def by_name(self) -> Mapping[str, Sequence[Field]]:
        """The fields by their names in lower case, in order."""
        ...

    @property
    def headers(self) -> Sequence[Field]:
        """The fields in order."""
        ...


def signed_fields(mail: Mail, names: Iterable[str], form: Canonical) -> bytes:
    """The canonical fields that an h= tag names, in its order (RFC 6376 section 5.4.2).

    A name takes the last such field not yet taken; one that has none left stands
    for a field that must not be added.
    """
    known, left = mail.by_name, dict[str, int]()
    taken = []
    for name in names:
        if fields := known.get(name):
            place = left[name] = left.get(name, len(fields)) - 1
            if place >= 0:
                taken.append(fields[place].raw)
    return b"".join(map(relaxed_field, taken) if form == "relaxed" else taken)


def relaxed_field(raw: bytes) -> bytes:
    """A header field in relaxed form, with its CRLF (RFC 6376 section 3.4.2)."""
    return _relaxed_short(raw) if len(raw) <= _SHORT else _relaxed(raw)


def _relaxed(raw: bytes) -> bytes:
    name, _, value = raw.partition(b":")
    if b"\n" in value:
        value = value.replace(b"\r\n", b"").replace(b"\n", b"")
    if b"\t" in value or b"  " in value:
        value = _BLANKS.sub(b" ", value)
    return b"%b:%b\r\n" % (name.rstrip(b" \t").lower(), value.strip(b" \t\r"))


_relaxed_short = lru_cache(maxsize=512)(_relaxed)  # a signature is made, then checked


def canonical_field(raw: bytes, form: Canonical) -> bytes:
    """A header field in the form asked for; the simple one is the field as it stands."""
    return relaxed_field(raw) if form == "relaxed" else raw


def relaxed_body(body: bytes) -> bytes:
    """The body in relaxed form (RFC 6376 section 3.4.4).

    body: CRLF line ends. A body whose last line has no CRLF gets it before
    blanks at line ends go, since that is how it travels. Empty stays empty.
    """
    if body and not body.endswith(b"\r\n"):
        body += b"\r\n"
    if b"\t" in body:
        body = body.replace(b"\t", b" ")
    if b"  " in body:
        # Wide runs first, so that deep indentation doesn't take a pass for each halving.
        for run in _RUNS:
            body = body.replace(run, b" ")
        while b"  " in body:
            body = body.replace(b"  ", b" ")
    if b" \r\n" in body:
        body = body.replace(b" \r\n", b"\r\n")
    if body.endswith(b"\r\n\r\n"):
        body = body[: _text_end(body, 0) + 2]
    return b"" if body == b"\r\n" else body


def digest_of_body(mail: Mail, form: Canonical) -> bytes:
    """The SHA-256 of the body's canonical form, made once for all who sign and verify."""
    digest = mail.digests.get(form)
    if digest is None:
        digest = mail.digests[form] = body_digest(mail.raw, mail.header_end + 2, form)
    return digest


def body_digest(raw: bytes, start: int, form: Canonical) -> bytes:
    """The SHA-256 of the canonical form of the body that begins at raw[start].

    Copies nothing when the body is in that form already.
    """
    end = _text_end(raw, start)
    if form == "relaxed" and _needs_relaxing(raw, start):
        return hashlib.sha256(relaxed_body(raw[start:])).digest()
    if end <= start:
        return hashlib.sha256(b"" if form == "relaxed" else b"\r\n").digest()
    digest = hashlib.sha256(memoryview(raw)[start:end])
    digest.update(b"\r\n")
    return digest.digest()


def _needs_relaxing(raw: bytes, start: int) -> bool:
    """Whether there is white space to change.

    Looked for up to the last blank: behind it, in base64, lies most of a large message.
    """
    if raw.find(b"\t", start) >= 0:
        return True
    last = raw.rfind(b" ", start)
    return last >= 0 and (
        raw.find(b"  ", start, last + 1) >= 0
        or raw.find(b" \r\n", start, last + 3) >= 0
        or last == len(raw) - 1
    )


def _text_end(body: bytes, start: int) -> int:
    """Where the last line that isn't empty ends, before its CRLF; start when there is none."""
    end = len(body)
    for empty in (_EMPTY_LINES, b"\r\n"):
        size = len(empty)
        while end - start >= size and body.startswith(empty, end - size):
            end -= size
    return end
