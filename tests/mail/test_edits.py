"""Edits change what they say and leave every other byte alone."""

import pytest

from filterrelay.mail.address import Address, parse_mailbox
from filterrelay.mail.edits import (
    AddHeader,
    AddRecipient,
    ChangeHeader,
    ChangeSender,
    Edit,
    RemoveHeader,
    RemoveRecipient,
    ReplaceBody,
    describe,
    edit_envelope,
    edit_message,
)
from filterrelay.mail.envelope import Recipient
from filterrelay.mail.message import Message
from filterrelay.plugin.testing import an_envelope, within_cpu_budget

RAW = b"A: 1\r\nB: 2\r\n  folded \r\nA: 3\r\n\r\nbody \xff\r\n"


def edited(*edits: Edit, raw: bytes = RAW) -> bytes:
    """The bytes after the edits."""
    return edit_message(Message("ID", raw), edits).raw


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (AddHeader("X", "y"), b"X: y\r\n" + RAW),
        (AddHeader("X", "y", at_top=False), RAW.replace(b"A: 3\r\n", b"A: 3\r\nX: y\r\n")),
        (ChangeHeader("a", "9"), RAW.replace(b"A: 1", b"a: 9")),
        (ChangeHeader("A", "9", index=1), RAW.replace(b"A: 3", b"A: 9")),
        (ChangeHeader("A", "9", index=2), RAW),
        (RemoveHeader("b"), RAW.replace(b"B: 2\r\n  folded \r\n", b"")),
        (RemoveHeader("A"), b"B: 2\r\n  folded \r\n\r\nbody \xff\r\n"),
        (RemoveHeader("A", index=1), RAW.replace(b"A: 3\r\n", b"")),
        (RemoveHeader("A", index=2), RAW),
        (ReplaceBody(b"new\r\n"), RAW.replace(b"body \xff\r\n", b"new\r\n")),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else describe(value),
)
def test_an_edit_touches_what_it_names_only(edit: Edit, expected: bytes) -> None:
    """Folding, blanks and foreign bytes elsewhere stay as they came."""
    assert edited(edit) == expected


def test_several_edits_are_made_in_order() -> None:
    """Each edit sees what the one before has made."""
    assert edited(AddHeader("X", "1"), ChangeHeader("X", "2"), ReplaceBody(b"")).startswith(
        b"X: 2\r\nA: 1\r\n"
    )


def test_the_last_header_put_on_top_stands_first() -> None:
    """Trace fields stand in the order of the hops."""
    assert edited(AddHeader("X", "1"), AddHeader("Y", "2")).startswith(b"Y: 2\r\nX: 1\r\nA")


def test_each_removal_sees_the_one_before() -> None:
    """The second field of a name is the first one when the first is gone."""
    raw = b"A: 1\r\nB: 2\r\nA: 3\r\nA: 4\r\n\r\n"
    assert edited(RemoveHeader("A", 1), RemoveHeader("A", 1), raw=raw) == b"A: 1\r\nB: 2\r\n\r\n"
    assert edited(
        AddHeader("A", "0"), RemoveHeader("A", 1), AddHeader("A", "5", at_top=False), raw=raw
    ) == (b"A: 0\r\nB: 2\r\nA: 3\r\nA: 4\r\nA: 5\r\n\r\n")


def test_many_removals_cost_no_more_than_there_are_fields() -> None:
    """A header full of forged fields doesn't hold up everybody else's mail."""
    count = 12_000
    raw = b"A: 1\r\nB: 2\r\n" * count + b"\r\n"
    message, edits = Message("ID", raw), [RemoveHeader("A", i) for i in reversed(range(count))]
    with within_cpu_budget(500):
        assert edit_message(message, edits).raw == b"B: 2\r\n" * count + b"\r\n"


@pytest.mark.parametrize(
    ("raw", "left"),
    [
        (b"Subject: x\r\nBcc: b\r\nHello text\r\n", b"Subject: x\r\nHello text\r\n"),
        (b">From a b\r\nBcc: b\r\nA: 1\r\n\r\n", b">From a b\r\nA: 1\r\n\r\n"),
        (b"A: 1\r\ntext\r\n more: text\r\nBcc: b\r\n", b"A: 1\r\ntext\r\n more: text\r\n"),
        (b" first\r\nBcc: b\r\n\r\n", b" first\r\n\r\n"),
        (b": no name\r\nBcc: b", b": no name\r\n"),
    ],
)
def test_lines_that_are_no_field_are_kept(raw: bytes, left: bytes) -> None:
    """A message without an empty line behind its header keeps its text when Bcc goes."""
    assert edited(RemoveHeader("Bcc"), raw=raw) == left


def test_a_field_without_line_end_stays_out_of_a_new_body() -> None:
    """A header section that ends without CRLF gets it before the body follows."""
    assert edited(ReplaceBody(b"new"), raw=b"A: 1") == b"A: 1\r\n\r\nnew"


@pytest.mark.parametrize("blank", [b" ", b"\t"])
def test_a_first_line_that_begins_with_a_blank_goes_on_with_no_field_of_ours(blank: bytes) -> None:
    """Else a stranger could write into our own Authentication-Results; so it becomes text."""
    raw = blank + b"; dkim=pass header.d=bank.example\r\nB: 1\r\n\r\nbody"
    on_top = AddHeader("X", "y")
    assert edited(on_top, raw=raw) == b"X: y\r\n\r\n" + raw
    assert edited(on_top, RemoveHeader("A"), raw=raw) == b"X: y\r\n\r\n" + raw


@pytest.mark.parametrize("raw", [b"Only text\r\n", b"Only text\r\nSubject: no more\r\n\r\n", b""])
def test_a_message_that_begins_with_text_has_its_header_set_apart(raw: bytes) -> None:
    """As Postfix does it; else the text would stand among the fields that are put above it."""
    assert edited(AddHeader("X", "y"), raw=raw) == b"X: y\r\n\r\n" + raw


@pytest.mark.parametrize("first", [b"From ann Thu Jan  1", b">From ann", b"Old :style", b"A:"])
def test_a_header_may_begin_oddly(first: bytes) -> None:
    """The From line of a mailbox and blanks before the colon are borne."""
    raw = first + b"\r\nB: 1\r\n\r\nbody"
    assert edited(AddHeader("X", "y"), raw=raw) == b"X: y\r\n" + raw


@pytest.mark.parametrize("name", ["", "X Y", "X:", "X\r\nEvil", "X\n", "X\0", "Größe"])
def test_a_name_can_not_start_another_field(name: str) -> None:
    """A plugin's fault is found where it is made (RFC 5322 section 3.6.8)."""
    for kind in (AddHeader, ChangeHeader):
        with pytest.raises(ValueError, match="name"):
            kind(name, "y")


@pytest.mark.parametrize(
    "value",
    ["1\r\nEvil: yes", "1\nEvil: yes", "1\n folded", "a\rb", "a\r\n", "a\r", "a\n", "\0", "\ud800"],
)
def test_a_value_can_not_smuggle_in_another_field(value: str) -> None:
    """No line end that doesn't fold, and nothing that can't be written."""
    for kind in (AddHeader, ChangeHeader):
        with pytest.raises(ValueError, match=r"line end|surrogates"):
            kind("X", value)


@pytest.mark.parametrize("value", ["", "a\r\n b\r\n\tc", "\r\n b", "Grüße", "\udcff"])
def test_a_value_may_be_folded_and_have_any_letter(value: str) -> None:
    """What is folded stays as it is; octets that are no UTF-8 stay what they were."""
    raw = edited(AddHeader("X", value), raw=b"\r\n")
    assert raw == b"X: " + value.encode("utf-8", "surrogateescape") + b"\r\n\r\n"


@pytest.mark.parametrize("body", [b"a\n.\nMAIL FROM:<x>\n", b"a\r", b"\n", b"a\r\r\n", b"a\0b"])
def test_a_new_body_can_not_smuggle_in_another_message(body: bytes) -> None:
    """What another server may take for the end of the message never gets out."""
    with pytest.raises(ValueError, match="CRLF"):
        ReplaceBody(body)


def test_a_plugin_can_not_put_commands_into_the_envelope() -> None:
    """An address that a plugin has put together is held to the same rules as a client's."""
    for bad in (
        Address("a> NOTIFY=NEVER", "b.example"),
        Address("a", "b\r\nRSET"),
        Address("", "b"),
    ):
        with pytest.raises(ValueError, match="envelope"):
            AddRecipient(Recipient(bad))
        with pytest.raises(ValueError, match="envelope"):
            ChangeSender(bad)
    bob = parse_mailbox("bob@partner.example")
    for worse in (Recipient(bob, orcpt="rfc822;a\r\nRSET"), Recipient(bob, notify=("NEVER x",))):
        with pytest.raises(ValueError, match="DSN"):
            AddRecipient(worse)
    assert AddRecipient(Recipient(bob, ("NEVER",), "rfc822;bob@partner.example"))


def test_a_message_without_headers_gets_its_first() -> None:
    """A body alone stays a body."""
    assert edited(AddHeader("X", "1"), raw=b"\r\nbody") == b"X: 1\r\n\r\nbody"


def test_an_empty_message_gets_its_first_headers_one_after_the_other() -> None:
    """The empty line behind them stays one line, and is no header."""
    first = edit_message(Message("ID", b""), [AddHeader("X", "1")])
    assert [header.name for header in first.headers] == ["X"]
    second = edit_message(first, [AddHeader("Y", "2")])
    assert [header.name for header in second.headers] == ["Y", "X"]
    third = edit_message(second, [AddHeader("Z", "3", at_top=False), RemoveHeader("X")])
    assert third.raw == b"Y: 2\r\nZ: 3\r\n\r\n"


def test_parsed_headers_are_kept_when_some_are_put_on_top() -> None:
    """What was parsed once isn't parsed again, and still agrees with the bytes."""
    message = Message("ID", RAW)
    assert len(message.headers) == 3
    longer = edit_message(message, [AddHeader("X", "1")])
    assert longer.headers == Message("ID", longer.raw).headers


def test_an_edit_of_the_envelope_leaves_the_message_the_same_object() -> None:
    """Nothing is copied without need."""
    message = Message("ID", RAW)
    assert edit_message(message, [ChangeSender(None)]) is message


def test_recipients_and_sender_change() -> None:
    """The envelope follows its edits; a recipient is there once."""
    carol = Recipient(parse_mailbox("carol@office.example"))
    envelope = edit_envelope(
        an_envelope(),
        [
            AddRecipient(carol),
            AddRecipient(Recipient(parse_mailbox("CAROL@office.example"))),
            RemoveRecipient(parse_mailbox("Bob@partner.example")),
            ChangeSender(None),
        ],
    )
    assert envelope.recipients == (carol,)
    assert envelope.return_path == ""
