"""Edits as the MTA reads them, and none that it would misread."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterrelay.wire.milter import CHUNK, Action, Edits, Step, Unsendable

from .mta import ALL_ACTIONS, packets

EDITS = Edits(Action(ALL_ACTIONS), Step.LEADING_SPACE)
OLD = Edits(Action(0x3F), Step(0))


@pytest.mark.parametrize(
    ("sent", "letter", "payload"),
    [
        (EDITS.add_header(b"X-A", b" v"), "h", b"X-A\0 v\0"),
        (EDITS.add_header(b"X-A", b"v"), "h", b"X-A\0v\0"),
        (EDITS.add_header(b"X-A", b""), "h", b"X-A\0\0"),
        (EDITS.insert_header(0, b"X-A", b" v"), "i", b"\0\0\0\0X-A\0 v\0"),
        (EDITS.insert_header(258, b"X-A", b" v"), "i", b"\0\0\1\2X-A\0 v\0"),
        (EDITS.change_header(b"Subject", 1, b" n"), "m", b"\0\0\0\1Subject\0 n\0"),
        (EDITS.change_header(b"Subject", 2, b""), "m", b"\0\0\0\2Subject\0 \0"),
        (EDITS.delete_header(b"Subject", 3), "m", b"\0\0\0\3Subject\0\0"),
        (EDITS.add_recipient(b"a@b"), "+", b"<a@b>\0"),
        (EDITS.add_recipient(b"a@b", b"NOTIFY=NEVER"), "2", b"<a@b>\0NOTIFY=NEVER\0"),
        (EDITS.delete_recipient(b"a@b"), "-", b"<a@b>\0"),
        (EDITS.change_sender(b""), "e", b"<>\0"),
        (EDITS.change_sender(b"a@b", b"RET=HDRS"), "e", b"<a@b>\0RET=HDRS\0"),
        (EDITS.quarantine(b"spam"), "q", b"spam\0"),
    ],
)
def test_each_edit_has_its_packet(sent: bytes, letter: str, payload: bytes) -> None:
    """SMFIR_* and its arguments; an empty value would delete, so it is a blank."""
    assert packets(sent) == [(letter, payload)]


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (b" a\r\n\tb", b" a\n\tb"),
        (b" a\n b", b" a\n b"),
        (b"\r\n folded first", b"\n folded first"),
        (b" \xc3\xb6 \xff", b" \xc3\xb6 \xff"),
    ],
)
def test_values_keep_each_octet_but_line_ends(value: bytes, sent: bytes) -> None:
    """A signature made over the value holds where the MTA delivers it."""
    assert packets(EDITS.add_header(b"X", value)) == [("h", b"X\0%b\0" % sent)]


@pytest.mark.parametrize(("value", "sent"), [(b" v", b"v"), (b"v", b"v"), (b"  v", b" v")])
def test_an_mta_that_adds_a_blank_gets_one_less(value: bytes, sent: bytes) -> None:
    """Without LEADING_SPACE it puts one between the colon and the value."""
    assert packets(OLD.add_header(b"X", value)) == [("h", b"X\0%b\0" % sent)]
    assert packets(OLD.change_header(b"X", 1, b" ")) == [("m", b"\0\0\0\1X\0 \0")]


@pytest.mark.parametrize(
    ("size", "pieces"), [(0, [0]), (1, [1]), (CHUNK, [CHUNK]), (CHUNK * 2 + 1, [CHUNK, CHUNK, 1])]
)
def test_a_body_goes_in_pieces(size: int, pieces: list[int]) -> None:
    """65535 octets at most, and one piece at least: an empty body is one, too."""
    body = bytes(range(256)) * (size // 256 + 1)
    sent = packets(b"".join(EDITS.replace_body(body[:size])))
    assert {letter for letter, _ in sent} == {"b"}
    assert [len(payload) for _, payload in sent] == pieces
    assert b"".join(payload for _, payload in sent) == body[:size]


@pytest.mark.parametrize(
    ("action", "edit"),
    [
        (Action.ADD_HEADERS, lambda edits: edits.add_header(b"X", b" v")),
        (Action.ADD_HEADERS, lambda edits: edits.insert_header(0, b"X", b" v")),
        (Action.CHANGE_HEADERS, lambda edits: edits.change_header(b"X", 1, b" v")),
        (Action.CHANGE_HEADERS, lambda edits: edits.delete_header(b"X", 1)),
        (Action.CHANGE_BODY, lambda edits: edits.replace_body(b"")),
        (Action.ADD_RECIPIENTS, lambda edits: edits.add_recipient(b"a@b")),
        (Action.ADD_RECIPIENTS_WITH_PARAMETERS, lambda edits: edits.add_recipient(b"a@b", b"X=1")),
        (Action.DELETE_RECIPIENTS, lambda edits: edits.delete_recipient(b"a@b")),
        (Action.CHANGE_SENDER, lambda edits: edits.change_sender(b"a@b")),
        (Action.QUARANTINE, lambda edits: edits.quarantine(b"why")),
    ],
)
def test_an_edit_is_sent_only_where_it_was_agreed_on(
    action: Action, edit: Callable[[Edits], object]
) -> None:
    """The MTA would end the conversation, and with it lose the verdict."""
    alone = Edits(action, Step(0))
    assert alone.can(action)
    edit(alone)
    others = Edits(Action(ALL_ACTIONS) & ~action, Step(0))
    assert not others.can(action)
    with pytest.raises(Unsendable):
        edit(others)


@pytest.mark.parametrize(
    "edit",
    [
        lambda: EDITS.add_header(b"", b" v"),
        lambda: EDITS.add_header(b"X Y", b" v"),
        lambda: EDITS.add_header(b"X:", b" v"),
        lambda: EDITS.add_header(b"X\n", b" v"),
        lambda: EDITS.add_header(b"X\xff", b" v"),
        lambda: EDITS.add_header(b"X", b" v\r\nBcc: x"),
        lambda: EDITS.add_header(b"X", b" v\nBcc: x"),
        lambda: EDITS.add_header(b"X", b" v\n"),
        lambda: EDITS.add_header(b"X", b" v\r"),
        lambda: EDITS.add_header(b"X", b" v\r\r\n x"),
        lambda: EDITS.add_header(b"X", b" v\0w"),
        lambda: EDITS.insert_header(-1, b"X", b" v"),
        lambda: EDITS.insert_header(2**31 - 1, b"X", b" v"),
        lambda: EDITS.change_header(b"X", 0, b" v"),
        lambda: EDITS.change_header(b"X:", 1, b" v"),
        lambda: EDITS.delete_header(b"X", 0),
        lambda: EDITS.delete_header(b"X:", 1),
        lambda: EDITS.add_recipient(b"a@b\0x"),
        lambda: EDITS.add_recipient(b"a@b\r\nx"),
        lambda: EDITS.add_recipient(b"a@b", b"X=1\0"),
        lambda: EDITS.delete_recipient(b"a\n@b"),
        lambda: EDITS.change_sender(b"a\0@b"),
        lambda: EDITS.change_sender(b"a@b", b"\r"),
        lambda: EDITS.quarantine(b""),
        lambda: EDITS.quarantine(b"a\nb"),
    ],
)
def test_nothing_can_be_slipped_in(edit: Callable[[], object]) -> None:
    """No text ends early, and no value brings another field."""
    with pytest.raises(Unsendable):
        edit()


@given(st.binary(max_size=40), st.binary(max_size=200), st.booleans())
def test_a_field_that_is_sent_is_one_field(name: bytes, value: bytes, old: bool) -> None:
    """Any name and value make one field of the message, or none."""
    try:
        sent = (OLD if old else EDITS).add_header(name, value)
    except Unsendable:
        return
    ((letter, payload),) = packets(sent)
    assert letter == "h"
    got, text, rest = payload.split(b"\0")
    assert (got, rest) == (name, b"")
    delivered = b"%b:%b%b" % (got, b" " if old else b"", text)
    assert all(line[:1] in (b" ", b"\t") for line in delivered.split(b"\n")[1:])
    assert (
        text.replace(b"\n", b"").removeprefix(b" ")
        == (value.replace(b"\r\n", b"\n").replace(b"\n", b"").removeprefix(b" "))
        or not old
    )
