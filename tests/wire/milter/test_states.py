"""Each state allows what it should, and leads where it should."""

import pytest

from filterrelay.wire.milter import Broken, Conversation, State, Step, Wishes

from .mta import CONNECT, HELO, MAIL, RCPT, UNKNOWN, offer, packet, wishes_of

COMMANDS = {
    "O": offer(),
    "C": CONNECT,
    "H": HELO,
    "M": MAIL,
    "R": RCPT,
    "U": UNKNOWN,
    "T": packet("T"),
    "L": packet("L", b"Subject\0 x\0"),
    "N": packet("N"),
    "B": packet("B", b"text\r\n"),
    "E": packet("E"),
    "D": packet("D", b"Mi\0Q1\0"),
    "A": packet("A"),
    "K": packet("K"),
    "Q": packet("Q"),
}
# The letters of the states in the table.
LETTERS = {
    "n": State.NEW,
    "r": State.READY,
    "s": State.SESSION,
    "m": State.SENDER,
    "R": State.RECIPIENTS,
    "c": State.CONTENT,
    "h": State.HEADERS,
    "t": State.TEXT,
    "q": State.CLOSED,
    ".": State.CLOSED,
}
# How a state is reached, and where each command leads from there; a point is nowhere.
TABLE = {
    #          OCHMRUTLNBEDAKQ
    "": "       r.............q",
    "O": "      .s...r.....rrrq",
    "OC": "     ..sm.s.....ssrq",
    "OCH": "    ..sm.s.....ssrq",
    "OCM": "    ..smRm.....msrq",
    "OCMR": "   ..smRRchttsRsrq",
    "OCMRT": "  ..sm...httscsrq",
    "OCMRL": "  ..sm...httshsrq",
    "OCMRTL": " ..sm...httshsrq",
    "OCMRN": "  ..sm.....tstsrq",
    "OCMRB": "  ..sm.....tstsrq",
    "OCMRE": "  ..sm.s.....ssrq",
    "OCMRA": "  ..sm.s.....ssrq",
    "OCMRK": "  .s...r.....rrrq",
}


def reached(way: str) -> Conversation:
    """A conversation after these commands."""
    conversation = Conversation(Wishes())
    conversation.feed(b"".join(COMMANDS[one] for one in way))
    return conversation


@pytest.mark.parametrize("way", TABLE)
@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_its_place(way: str, command: str) -> None:
    """What is allowed in which state, and where it leads; all else ends the conversation."""
    letter = TABLE[way].strip()["OCHMRUTLNBEDAKQ".index(command)]
    conversation = reached(way)
    before = conversation.state.value
    events = conversation.feed(COMMANDS[command])
    assert conversation.state is LETTERS[letter]
    broken = [event for event in events if isinstance(event, Broken)]
    reason = f"command {ord(command):#x} in state {before}"
    assert broken == ([Broken(reason)] if letter == "." else [])


@pytest.mark.parametrize(
    ("left_out", "sent"),
    [
        (Step.NO_CONNECT, "OHMRTLNBEMRE"),
        (Step.NO_CONNECT, "OUMRTLNBEMRE"),
        (Step.NO_MAIL, "OCHRRTLNBERE"),
        (Step.NO_RCPT, "OCHMTLNBEMLE"),
        (Step.NO_RCPT, "OCMBEMNEME"),
        (Step.NO_MAIL | Step.NO_RCPT, "OCLNBEBEE"),
        (Step.NO_CONNECT | Step.NO_MAIL | Step.NO_RCPT, "OTLNBEHLNBEKTE"),
        (Step.NO_CONNECT | Step.NO_HELO | Step.NO_RCPT | Step.NO_HEADERS, "OMNBE"),
    ],
)
def test_steps_that_are_left_out_count_as_said(left_out: Step, sent: str) -> None:
    """An MTA that was asked not to tell of them goes straight on."""
    octets = b"".join(COMMANDS[one] for one in sent)
    conversation = Conversation(wishes_of(left_out))
    events = conversation.feed(octets)
    assert not any(isinstance(event, Broken) for event in events)
    assert len(events) == len(sent)
    plain = Conversation(Wishes()).feed(octets)
    assert isinstance(plain[-1], Broken)
