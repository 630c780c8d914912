"""What plugins want changed, as values, and how the changes are made.

A value that would break the message, such as a line end that starts another field,
can't be built: ValueError tells the plugin's author why.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import assert_never

from filterrelay.mail.address import Address, BadAddress, parse_mailbox
from filterrelay.mail.envelope import Envelope, Recipient
from filterrelay.mail.message import Message, is_clean

_NAME = re.compile(r"[!-9;-~]+\Z")  # RFC 5322 section 3.6.8
_PARAMETER = re.compile(r"[!-~]*\Z")  # an ESMTP value, RFC 5321 section 4.1.2


def _check_field(name: str, value: str) -> None:
    if not _NAME.match(name):
        raise ValueError(f"{name!r} can't be a header field's name")
    folds = value.count("\r\n ") + value.count("\r\n\t")
    if "\0" in value or not value.count("\r") == value.count("\n") == folds:
        raise ValueError(f"the value of {name} has a NUL or a line end that doesn't fold it")
    value.encode("utf-8", "surrogateescape")  # a UnicodeEncodeError is a ValueError


def _check_address(address: Address) -> None:
    try:
        parse_mailbox(str(address), utf8=True)
    except BadAddress as error:
        raise ValueError(f"{str(address)!r} can't be in an envelope: {error}") from None


@dataclass(frozen=True, slots=True)
class AddHeader:
    """Put a new field above all others, or at the end of the header section.

    value: without name and final line end; may be folded with CRLF and a blank.
    """

    name: str
    value: str
    at_top: bool = True

    def __post_init__(self) -> None:
        """Checks name and value."""
        _check_field(self.name, self.value)


@dataclass(frozen=True, slots=True)
class ChangeHeader:
    """Give the index-th field of that name (counted from 0) another value."""

    name: str
    value: str
    index: int = 0

    def __post_init__(self) -> None:
        """Checks name and value."""
        _check_field(self.name, self.value)


@dataclass(frozen=True, slots=True)
class RemoveHeader:
    """Take away the index-th field of that name (counted from 0), or all with None."""

    name: str
    index: int | None = None


@dataclass(frozen=True, slots=True)
class ReplaceBody:
    """Put another body in place of the whole old one; CRLF line ends, no NUL."""

    body: bytes

    def __post_init__(self) -> None:
        """Checks the line ends."""
        if not is_clean(self.body):
            raise ValueError("the new body has a NUL, a bare CR or a bare LF; lines end with CRLF")


@dataclass(frozen=True, slots=True)
class AddRecipient:
    """Send to this recipient too."""

    recipient: Recipient

    def __post_init__(self) -> None:
        """Checks the address and its parameters."""
        _check_address(self.recipient.address)
        for parameter in (*self.recipient.notify, self.recipient.orcpt):
            if not _PARAMETER.match(parameter):
                raise ValueError(f"{parameter!r} can't be a recipient's DSN parameter")


@dataclass(frozen=True, slots=True)
class RemoveRecipient:
    """Don't send to this address."""

    address: Address


@dataclass(frozen=True, slots=True)
class ChangeSender:
    """Give the envelope another sender; None is the null sender."""

    sender: Address | None

    def __post_init__(self) -> None:
        """Checks the address."""
        if self.sender is not None:
            _check_address(self.sender)


Edit = (
    AddHeader
    | ChangeHeader
    | RemoveHeader
    | ReplaceBody
    | AddRecipient
    | RemoveRecipient
    | ChangeSender
)


def describe(edit: Edit) -> str:
    """The edit in a few words, for the trace; never a body, never a long value."""
    match edit:
        case AddHeader(name, value):
            return f"add header {name}: {_shorten(value)}"
        case ChangeHeader(name, value):
            return f"change header {name}: {_shorten(value)}"
        case RemoveHeader(name):
            return f"remove header {name}"
        case ReplaceBody(body):
            return f"replace body ({len(body)} bytes)"
        case AddRecipient(recipient):
            return f"add recipient {recipient}"
        case RemoveRecipient(address):
            return f"remove recipient {address}"
        case ChangeSender(sender):
            return f"change sender to {sender or '<>'}"
        case _:
            assert_never(edit)


def _shorten(value: str, most: int = 60) -> str:
    flat = " ".join(value.split())
    return flat if len(flat) <= most else f"{flat[: most - 1]}…"


def edit_message(message: Message, edits: Sequence[Edit]) -> Message:
    """The message with the edits made, in order; the same object when none concerns it.

    Only what an edit touches changes: all other bytes stay exactly as they came.
    """
    if not edits:
        return message
    if not message.has_section and any(isinstance(edit, AddHeader) for edit in edits):
        message = Message(message.id, b"\r\n" + message.raw)
    if all(isinstance(edit, AddHeader) and edit.at_top for edit in edits):
        return _put_on_top(message, edits)
    section: _Section | None = None
    body: bytes | None = None
    for edit in edits:
        match edit:
            case AddHeader() | ChangeHeader() | RemoveHeader():
                section = section or _Section(message)
                section.make(edit)
            case ReplaceBody(new_body):
                body = new_body
            case AddRecipient() | RemoveRecipient() | ChangeSender():
                pass
            case _:
                assert_never(edit)
    if section is None and body is None:
        return message
    head = message.raw[: message.header_end] if section is None else section.raw()
    rest = message.raw[message.header_end :] if body is None else b"\r\n" + body
    if head and rest and not head.endswith(b"\r\n"):
        head += b"\r\n"
    return Message(message.id, head + rest)


def _put_on_top(message: Message, edits: Iterable[Edit]) -> Message:
    """The common case, made in one copy of the bytes."""
    added = [_field(e.name, e.value) for e in edits if isinstance(e, AddHeader)]
    if not added:
        return message
    added.reverse()
    return message.with_fields_on_top(added)


def _field(name: str, value: str) -> bytes:
    """The whole field with its final CRLF."""
    return f"{name}: {value}\r\n".encode("utf-8", "surrogateescape")


class _Section:
    """A header section under change: each edit costs the same, however many fields there are.

    Every field has a place, a number of its own that grows from top to bottom and
    is never given twice.
    """

    def __init__(self, message: Message) -> None:
        self._fields = {place: header.raw for place, header in enumerate(message.section)}
        self._places: dict[str, list[int]] = {}  # by the name in lower case, from top to bottom
        for place, header in enumerate(message.section):
            if header.name:
                self._places.setdefault(header.name.lower(), []).append(place)
        self._top = 0  # of the places given
        self._bottom = len(self._fields)  # behind them

    def make(self, edit: AddHeader | ChangeHeader | RemoveHeader) -> None:
        """Makes one edit; a field that isn't there is neither changed nor removed."""
        places = self._places.setdefault(edit.name.lower(), [])
        match edit:
            case AddHeader(name, value, at_top=True):
                self._top -= 1
                places.insert(0, self._top)
                self._fields[self._top] = _field(name, value)
            case AddHeader(name, value):
                places.append(self._bottom)
                self._fields[self._bottom] = _field(name, value)
                self._bottom += 1
            case ChangeHeader(name, value, index):
                for place in places[index : index + 1]:
                    self._fields[place] = _field(name, value)
            case RemoveHeader(_, index):
                doomed = slice(None) if index is None else slice(index, index + 1)
                for place in places[doomed]:
                    del self._fields[place]
                del places[doomed]
            case _:
                assert_never(edit)

    def raw(self) -> bytes:
        """The section as it stands now."""
        return b"".join([self._fields[place] for place in sorted(self._fields)])


def edit_envelope(envelope: Envelope, edits: Iterable[Edit]) -> Envelope:
    """The envelope with the edits made, in order; the same object when none concerns it."""
    for edit in edits:
        match edit:
            case AddRecipient(recipient):
                if all(r.address.key != recipient.address.key for r in envelope.recipients):
                    envelope = envelope.to((*envelope.recipients, recipient))
            case RemoveRecipient(address):
                kept = tuple(r for r in envelope.recipients if r.address.key != address.key)
                envelope = envelope.to(kept)
            case ChangeSender(sender):
                envelope = replace(envelope, sender=sender)
            case AddHeader() | ChangeHeader() | RemoveHeader() | ReplaceBody():
                pass
            case _:
                assert_never(edit)
    return envelope
