"""One connection from an MTA: the states, the negotiation, macros, limits."""

import struct

import pytest

from filterrelay.wire.milter import (
    CHUNK,
    MOST,
    Abort,
    Action,
    Body,
    Broken,
    Connect,
    Conversation,
    Data,
    EndOfHeader,
    EndOfMessage,
    Header,
    Helo,
    Mail,
    Negotiated,
    Quit,
    QuitNewConnection,
    Rcpt,
    Stage,
    Step,
    Unknown,
    Wishes,
)

from .mta import (
    CONNECT,
    HELO,
    MAIL,
    POSTFIX_STEPS,
    RCPT,
    UNKNOWN,
    begun,
    offer,
    packet,
    packets,
    wishes_of,
)


def test_a_message_that_is_left_for_another_is_void() -> None:
    """HELO or MAIL in the middle of a message end it; ABORT without one is nothing."""
    conversation = begun()
    assert conversation.feed(packet("A")) == []
    events = conversation.feed(MAIL + RCPT + MAIL + HELO + packet("A"))
    kinds = [type(event) for event in events]
    assert kinds == [Mail, Rcpt, Abort, Mail, Abort, Helo]


def test_nothing_follows_a_quit() -> None:
    """Whatever still comes is no longer looked at."""
    conversation = begun()
    assert conversation.feed(packet("Q") + b"garbage") == [Quit()]
    assert conversation.feed(MAIL) == []


def test_a_new_client_needs_no_negotiation() -> None:
    """After QUIT_NC the connection is used again, and nothing of the first client is left."""
    conversation = begun()
    events = conversation.feed(
        packet("D", b"H{tls_version}\0TLSv1.3\0") + HELO + packet("K") + CONNECT
    )
    assert isinstance(events[0], Helo)
    assert events[1] == QuitNewConnection()
    assert isinstance(events[2], Connect)
    assert events[2].macros == {}


def negotiated(wishes: Wishes, octets: bytes) -> Negotiated:
    """What the first packet led to."""
    (event,) = Conversation(wishes).feed(octets)
    assert isinstance(event, Negotiated)
    return event


def test_only_what_is_offered_is_used() -> None:
    """Actions and steps that the MTA doesn't know aren't asked of it."""
    wishes = Wishes(
        actions=Action.ADD_HEADERS | Action.CHANGE_SENDER,
        steps=Step.NO_BODY | Step.NO_DATA | Step.QUIET_HEADERS,
    )
    agreed = negotiated(wishes, offer(2, 0x3F, 0x7F))
    assert (agreed.version, agreed.actions, agreed.steps) == (2, Action.ADD_HEADERS, Step.NO_BODY)
    assert packets(agreed.answer) == [("O", struct.pack(">III", 2, 1, 0x10))]
    agreed = negotiated(wishes, offer())
    assert agreed.actions == wishes.actions
    assert agreed.steps == wishes.steps | Step.LEADING_SPACE


@pytest.mark.parametrize(("offered", "agreed"), [(2, 2), (3, 3), (4, 4), (6, 6), (7, 6), (99, 6)])
def test_the_lower_version_is_spoken(offered: int, agreed: int) -> None:
    """Versions 2 to 6; a newer MTA speaks 6 as well."""
    assert negotiated(Wishes(), offer(offered)).version == agreed


@pytest.mark.parametrize("version", [0, 1])
def test_version_1_is_too_old(version: int) -> None:
    """As libmilter has it."""
    (event,) = Conversation(Wishes()).feed(offer(version))
    assert event == Broken(f"version {version}")


def test_macros_are_asked_for_by_stage() -> None:
    """SETSYMLIST, if it is offered; longer names get their braces."""
    wishes = Wishes(
        macros={Stage.MAIL: (b"i", b"auth_authen"), Stage.END_OF_MESSAGE: (b"i",)},
    )
    agreed = negotiated(wishes, offer())
    assert agreed.actions is Action.SET_SYMBOLS
    ((_, payload),) = packets(agreed.answer)
    assert payload[12:] == b"\0\0\0\2i {auth_authen}\0" + b"\0\0\0\5i\0"
    agreed = negotiated(wishes, offer(actions=0xFF))
    assert agreed.actions == Action(0)
    ((_, payload),) = packets(agreed.answer)
    assert len(payload) == 12


@pytest.mark.parametrize(
    ("most", "sizes"),
    [
        (MOST, Step.LARGE | Step.HUGE),
        (MOST - 1, Step.LARGE),
        (256 * 1024, Step.LARGE),
        (CHUNK, Step(0)),
    ],
)
def test_larger_packets_are_agreed_on_if_they_are_taken(most: int, sizes: Step) -> None:
    """SMFIP_MDS_256K and SMFIP_MDS_1M."""
    (event,) = Conversation(Wishes(), most).feed(offer(steps=0x30000000))
    assert isinstance(event, Negotiated)
    assert event.steps == sizes


def test_each_step_gets_a_reply_unless_that_was_agreed() -> None:
    """An MTA that doesn't offer to do without is answered, whatever was wished."""
    quiet = wishes_of(Step.QUIET_HEADERS | Step.QUIET_BODY | Step.QUIET_MAIL)
    header, body, mail = Header(b"a", b"b"), Body(b""), Mail(b"", (), {})
    silent = begun(quiet)
    assert not any(type(event) in silent.replied for event in (header, body, mail))
    old = begun(quiet, steps=0x7F)
    assert all(type(event) in old.replied for event in (header, body, mail))
    for event in (Rcpt(b"", (), {}), Data({}), Unknown(b"", {}), EndOfHeader({})):
        assert type(event) in silent.replied


def test_the_end_of_a_message_always_gets_a_reply() -> None:
    """And what ends a message, a client or the connection never does."""
    conversation = begun(wishes_of(Step(POSTFIX_STEPS)))
    assert EndOfMessage in conversation.replied
    for event in (Abort(), Quit(), QuitNewConnection(), Broken("")):
        assert type(event) not in conversation.replied
    assert type(negotiated(Wishes(), offer())) not in conversation.replied


def macros(stage: str, **symbols: str) -> bytes:
    """The macros of a stage."""
    texts = (text.encode() + b"\0" for pair in symbols.items() for text in pair)
    return packet("D", stage.encode() + b"".join(texts))


def test_macros_hold_from_their_stage_on() -> None:
    """A recipient's macros don't outlast it, a message's neither; a client's do."""
    conversation = begun()
    events = conversation.feed(
        macros("H", tls="TLSv1.3")
        + HELO
        + macros("M", i="Q1", who="a")
        + MAIL
        + macros("R", to="b")
        + RCPT
        + macros("R", to="c")
        + RCPT
        + packet("T")
        + macros("E", i="Q2", id="x")
        + packet("E")
        + MAIL
    )
    known = [event.macros for event in events if isinstance(event, (Helo, Mail, Rcpt, Data))]
    tls = {b"tls": b"TLSv1.3"}
    mail = {**tls, b"i": b"Q1", b"who": b"a"}
    rcpts = [{**mail, b"to": b"b"}, {**mail, b"to": b"c"}]
    assert known == [tls, mail, *rcpts, rcpts[1], tls]
    end = next(event for event in events if isinstance(event, EndOfMessage))
    assert end.macros == {**rcpts[1], b"i": b"Q2", b"id": b"x"}


def test_macros_of_a_void_message_are_forgotten() -> None:
    """Those of MAIL that came before MAIL ended the message by itself are kept."""
    conversation = begun()
    events = conversation.feed(
        macros("M", i="Q1")
        + MAIL
        + packet("A")
        + MAIL
        + macros("R", to="b")
        + RCPT
        + macros("M", i="Q2")
        + MAIL
    )
    known = [event.macros for event in events if isinstance(event, Mail)]
    assert known == [{b"i": b"Q1"}, {}, {b"i": b"Q2"}]


def test_the_same_macros_count_again_for_the_next_message() -> None:
    """Postfix repeats them before each field; that they were told before says nothing."""
    fields = (packet("D", b"Li\x00Q1\0") + packet("L", b"A\0 1\0")) * 3
    message = MAIL + RCPT + fields + packet("E")
    ends = begun().feed(message + message)
    assert [one.macros for one in ends if isinstance(one, EndOfMessage)] == [{b"i": b"Q1"}] * 2


def test_macros_of_no_command_break_it() -> None:
    """Be it after good ones that were empty, too."""
    (broken,) = begun().feed(packet("D", b"H") + packet("D") + MAIL)
    assert isinstance(broken, Broken)


def test_an_unknown_command_changes_no_macros() -> None:
    """It has some of its own, as Postfix tells it; those of no known command are nothing."""
    conversation = begun()
    mail, unknown, rcpt = conversation.feed(
        macros("x", i="Q0") + macros("M", i="Q1") + MAIL + macros("U", v="1") + UNKNOWN + RCPT
    )
    assert isinstance(mail, Mail)
    assert isinstance(unknown, Unknown)
    assert isinstance(rcpt, Rcpt)
    assert mail.macros == {b"i": b"Q1"}
    assert unknown.macros == rcpt.macros == {b"i": b"Q1", b"v": b"1"}


@pytest.mark.parametrize(
    ("command", "most"), [("L", 69_999), ("B", 69_999), ("E", 69_999), ("R", CHUNK), ("D", CHUNK)]
)
def test_packets_are_bounded(command: str, most: int) -> None:
    """A packet over the limit is none, and isn't waited for: its head is enough."""
    for size, events in ((most, []), (most + 1, [Broken(f"packet of {most + 2} octets")])):
        conversation = Conversation(Wishes(), 70_000)
        conversation.feed(offer() + CONNECT + MAIL + RCPT)
        assert conversation.feed(struct.pack(">I", size + 1) + command.encode()) == events


def test_an_empty_packet_is_none() -> None:
    """There is no command in it."""
    assert Conversation(Wishes()).feed(bytes(5)) == [Broken("packet of 0 octets")]


def test_body_beyond_the_end_comes_with_it() -> None:
    """libmilter allows the last piece of the body in SMFIC_BODYEOB."""
    conversation = begun()
    events = conversation.feed(MAIL + RCPT + packet("E", b"rest\r\n"))
    assert events[-1] == EndOfMessage(b"rest\r\n", {})


def test_broken_bytes_spoil_nothing_before_them() -> None:
    """What was complete is told, and then that no more will come."""
    conversation = begun()
    mail, broken = conversation.feed(MAIL + packet("R", b"no end") + RCPT)
    assert isinstance(mail, Mail)
    assert broken == Broken("text without an end")
    assert conversation.feed(MAIL) == []
