"""What the filter changes about a message, as octets: sent at EndOfMessage, before the verdict."""

import re
import struct
from collections.abc import Iterator

from filterrelay.wire.milter.codes import CHUNK, Action, Step
from filterrelay.wire.milter.replies import Unsendable, packet

_INDEX = struct.Struct(">I")
_MOST_INDEX = 0x7FFF_FFFE  # Postfix reads it as a signed number, and adds one
_NAME = re.compile(rb"[!-9;-~]+")  # RFC 5322 section 2.2
_BROKEN_VALUE = re.compile(rb"\0|\r|\n(?![ \t])")  # once its line ends are LF
_BROKEN_TEXT = re.compile(rb"[\0\r\n]")


class Edits:
    """Encodes the edits that were agreed on; each of them raises Unsendable for others.

    Values of fields are as in Header: all that follows the colon, blank included; line ends
    are CRLF or LF. They stand in the message octet by octet as given, so that a signature
    made over them holds. An MTA that doesn't know Step.LEADING_SPACE adds a blank to each
    value, so one is taken away before: there, a value that begins with none gets one.
    Addresses are given without angle brackets, parameters as RFC 5321 section 4.1.2 has them.
    """

    __slots__ = ("_actions", "_adds_blank")

    def __init__(self, actions: Action, steps: Step) -> None:
        self._actions = int(actions)  # numbers: a flag is looked for in ten times the time
        self._adds_blank = Step.LEADING_SPACE not in steps

    def can(self, action: Action) -> bool:
        """Whether the MTA takes such edits."""
        return bool(self._actions & int(action))

    def add_header(self, name: bytes, value: bytes) -> bytes:
        """Appends a field to the header section (SMFIR_ADDHEADER)."""
        self._require(Action.ADD_HEADERS)
        return packet(b"h", self._field(name, value))

    def insert_header(self, index: int, name: bytes, value: bytes) -> bytes:
        """Puts a field before that one of all fields, 0 for the very top (SMFIR_INSHEADER).

        The MTA's own Received field counts, although it wasn't told.
        """
        self._require(Action.ADD_HEADERS)
        return packet(b"i", _index(index, 0) + self._field(name, value))

    def change_header(self, name: bytes, index: int, value: bytes) -> bytes:
        """Gives the index-th field of that name, from 1, another value (SMFIR_CHGHEADER)."""
        self._require(Action.CHANGE_HEADERS)
        return packet(b"m", _index(index, 1) + self._field(name, value or b" "))

    def delete_header(self, name: bytes, index: int) -> bytes:
        """Takes the index-th field of that name, from 1, away (SMFIR_CHGHEADER).

        The numbers of the later ones don't change before the message is through.
        """
        self._require(Action.CHANGE_HEADERS)
        return packet(b"m", _index(index, 1) + b"%b\0\0" % _name(name))

    def replace_body(self, body: bytes) -> Iterator[bytes]:
        """A new body, CRLF line ends, in several packets (SMFIR_REPLBODY).

        Postfix wants no other edit among them.
        """
        self._require(Action.CHANGE_BODY)
        return (
            packet(b"b", body[start : start + CHUNK]) for start in range(0, len(body) or 1, CHUNK)
        )

    def add_recipient(self, address: bytes, parameters: bytes = b"") -> bytes:
        """One more recipient (SMFIR_ADDRCPT, or SMFIR_ADDRCPT_PAR with parameters)."""
        if parameters:
            self._require(Action.ADD_RECIPIENTS_WITH_PARAMETERS)
            return packet(b"2", _path(address) + _text(parameters))
        self._require(Action.ADD_RECIPIENTS)
        return packet(b"+", _path(address))

    def delete_recipient(self, address: bytes) -> bytes:
        """One recipient less (SMFIR_DELRCPT); address: as it was told."""
        self._require(Action.DELETE_RECIPIENTS)
        return packet(b"-", _path(address))

    def change_sender(self, address: bytes, parameters: bytes = b"") -> bytes:
        """Another envelope sender (SMFIR_CHGFROM)."""
        self._require(Action.CHANGE_SENDER)
        return packet(b"e", _path(address) + (_text(parameters) if parameters else b""))

    def quarantine(self, reason: bytes) -> bytes:
        """Has the MTA hold the message for its postmaster (SMFIR_QUARANTINE)."""
        self._require(Action.QUARANTINE)
        if not reason:
            raise Unsendable("quarantine without a reason")
        return packet(b"q", _text(reason))

    def _require(self, action: Action) -> None:
        if not self.can(action):
            raise Unsendable(f"the MTA doesn't take {action.name}")

    def _field(self, name: bytes, value: bytes) -> bytes:
        value = value.replace(b"\r\n", b"\n")
        if _BROKEN_VALUE.search(value):
            raise Unsendable(f"value of {name[:80]!r}")
        if self._adds_blank and len(value) > 1:
            value = value.removeprefix(b" ")
        return b"%b\0%b\0" % (_name(name), value)


def _index(index: int, least: int) -> bytes:
    if not least <= index <= _MOST_INDEX:
        raise Unsendable(f"field number {index}")
    return _INDEX.pack(index)


def _name(name: bytes) -> bytes:
    if not _NAME.fullmatch(name):
        raise Unsendable(f"name of a field: {name[:80]!r}")
    return name


def _path(address: bytes) -> bytes:
    return _text(b"<%b>" % address)


def _text(text: bytes) -> bytes:
    if _BROKEN_TEXT.search(text):
        raise Unsendable(f"text: {text[:80]!r}")
    return text + b"\0"
