"""A mail server that makes the changes has the message that the plugins made."""

import struct
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterrelay.chain.run import Judgement
from filterrelay.doors.esmtp import taken_rcpt
from filterrelay.doors.milter.changes import Told, changes
from filterrelay.mail.address import Address
from filterrelay.mail.edits import (
    AddHeader,
    AddRecipient,
    ChangeHeader,
    ChangeSender,
    Edit,
    RemoveHeader,
    RemoveRecipient,
    ReplaceBody,
    edit_envelope,
    edit_message,
)
from filterrelay.mail.envelope import Envelope, Recipient
from filterrelay.mail.message import Message
from filterrelay.mail.verdict import Pass
from filterrelay.wire.milter import Action, Edits, Step, Unsendable
from tests.wire.milter.mta import packets

ALL = Edits(Action(sum(Action)), Step(sum(Step)))
RAW = b"Received: a\r\nA: 1\r\nB:2\r\na:  3\r\n\tfolded\r\nA: 4\r\n\r\nbody\r\n"

Field = tuple[bytes, bytes | None]  # None: deleted
OWN: Field = (b"Received", b" by the mail server itself")


class Postfix:
    """How cleanup counts: its own first field is none to change, and a deleted one is gone."""

    def __init__(self, fields: Sequence[Field]) -> None:
        self.fields = [OWN, *fields]

    def change(self, name: bytes, number: int, value: bytes | None) -> None:
        """CHGHEADER."""
        named = [at for at, one in enumerate(self.fields) if at and one[0].lower() == name.lower()]
        self.put(named[number - 1], name, value)

    def put(self, at: int, name: bytes, value: bytes | None) -> None:
        """What becomes of the field there."""
        self.fields[at : at + 1] = [] if value is None else [(name, value)]

    def insert(self, index: int, name: bytes, value: bytes) -> None:
        """INSHEADER."""
        self.fields.insert(min(index, len(self.fields)), (name, value))

    def add(self, name: bytes, value: bytes) -> None:
        """ADDHEADER."""
        self.fields.append((name, value))

    def make(self, sent: Sequence[tuple[str, bytes]]) -> bytes:
        """The header section with these edits, but for the field of its own."""
        for letter, text in sent:
            if letter == "h":
                name, value, _ = text.split(b"\0")
                self.add(name, value)
                continue
            (index,) = struct.unpack(">I", text[:4])
            name, value, _ = text[4:].split(b"\0")
            if letter == "i":
                self.insert(index, name, value)
            else:
                self.change(name, index, value or None)
        assert self.fields.pop(0) == OWN
        left = [(name, value) for name, value in self.fields if value is not None]
        made = b"".join(name + b":" + value + b"\n" for name, value in left)
        return made.replace(b"\n", b"\r\n")


class Sendmail(Postfix):
    """How sendmail counts: a deleted field stays, and an added one goes above its namesakes."""

    def put(self, at: int, name: bytes, value: bytes | None) -> None:
        """Only the value goes; it would keep a name's letter case, too."""
        self.fields[at] = (name, value)

    def add(self, name: bytes, value: bytes) -> None:
        """Its addheader() stops at the first field of that name."""
        for at, one in enumerate(self.fields):
            if at and one[0].lower() == name.lower():
                self.insert(at, name, value)
                return
        super().add(name, value)


def told_of(raw: bytes, *recipients: str) -> Told:
    """A message from ann to these."""
    taken = [(taken_rcpt(each, ()), each.encode()) for each in recipients]
    envelope = Envelope(Address("ann", "office.example"), tuple(one for one, _ in taken))
    return Told(raw, envelope, taken)


def made(told: Told, *edits: Edit, by: Edits = ALL) -> tuple[list[tuple[str, bytes]], bytes]:
    """The packets, and a new body."""
    edited = edit_envelope(told.envelope, edits), edit_message(Message("", told.raw), edits)
    head, body = changes(Judgement(Pass(), "", *edited, {}, edits, ()), told, by)
    return packets(head), b"".join(piece for _, piece in packets(b"".join(body)))


NAMES = st.sampled_from(["A", "a", "B", "Received", "New"])
VALUES = st.sampled_from(["x", "y", "long\r\n\tand folded"])
HEADER_EDITS = st.one_of(
    st.builds(AddHeader, NAMES, VALUES, st.booleans()),
    st.builds(ChangeHeader, NAMES, VALUES, st.integers(0, 3)),
    st.builds(RemoveHeader, NAMES, st.one_of(st.none(), st.integers(0, 3))),
)


@pytest.mark.parametrize("server", [Postfix, Sendmail])
@given(edits=st.lists(HEADER_EDITS, max_size=8))
def test_any_edits_come_to_the_same(server: type[Postfix], edits: list[Edit]) -> None:
    """Whatever follows on what, and however the mail server counts."""
    fields: list[Field] = [
        (one.name.encode(), one.raw.partition(b":")[2][:-2].replace(b"\r\n", b"\n"))
        for one in Message("", RAW).section
    ]
    sent, _ = made(told_of(RAW), *edits)
    edited = edit_message(Message("", RAW), edits)
    assert server(fields).make(sent) == edited.raw[: edited.header_end]


def test_only_the_difference_is_told() -> None:
    """What was undone, and what is as it was, costs no packet."""
    bert = Address("bert", "partner.example")
    sent, body = made(
        told_of(RAW, "bert@partner.example"),
        AddHeader("New", "x"),
        ChangeHeader("New", "y"),
        RemoveHeader("New"),
        ChangeHeader("B", "3"),
        RemoveHeader("Absent"),
        ChangeHeader("a", " 3\r\n\tfolded", 1),
        ReplaceBody(b"other\r\n"),
        ReplaceBody(b"body\r\n"),
        RemoveRecipient(bert),
        AddRecipient(Recipient(bert)),
        ChangeSender(None),
        ChangeSender(Address("ann", "office.example")),
    )
    assert sent == [("m", b"\0\0\0\x01B\0 3\0")]
    assert not body


def test_a_recipient_is_deleted_as_the_mail_server_called_it() -> None:
    """Route, quotes and all; who was told twice is deleted once."""
    quoted = '@relay.example:"a b"@partner.example'
    sent, _ = made(
        told_of(RAW, quoted, "Root", "Root", "other@partner.example"),
        RemoveRecipient(Address('"a b"', "partner.example")),
        RemoveRecipient(Address("root", "")),
    )
    assert sent == [("-", f"<{quoted}>\0".encode()), ("-", b"<Root>\0")]


def test_envelope_edits_have_their_parameters() -> None:
    """The null sender, and DSN for a new recipient."""
    carl = Recipient(Address("carl", "partner.example"), ("NEVER",), "rfc822;c@partner.example")
    sent, _ = made(told_of(RAW, "bert@partner.example"), ChangeSender(None), AddRecipient(carl))
    assert sent == [
        ("e", b"<>\0"),
        ("2", b"<carl@partner.example>\0NOTIFY=NEVER ORCPT=rfc822;c@partner.example\0"),
    ]


@pytest.mark.parametrize(
    "edit", [ReplaceBody(b"x\r\n"), ChangeHeader("A", "x"), ChangeSender(None)]
)
def test_what_the_mail_server_takes_not_is_an_error_before_anything_is_sent(edit: Edit) -> None:
    """A new body, too, of which the packets are made later."""
    few = Edits(Action.ADD_HEADERS, Step.LEADING_SPACE)
    with pytest.raises(Unsendable):
        made(told_of(RAW), AddHeader("New", "x"), edit, by=few)


def test_octets_of_no_charset_survive() -> None:
    """A header in Latin-1 is no reason to refuse a message."""
    text = b"\xe4".decode("utf-8", "surrogateescape")
    sent, _ = made(told_of(b"A: \xe4\r\n\r\n"), AddHeader("New", text), ChangeHeader("A", text * 2))
    assert [text for _, text in sent] == [
        b"\0\0\0\x01A\0 \xe4\xe4\0",
        b"\0\0\0\x01New\0 \xe4\0",
    ]
