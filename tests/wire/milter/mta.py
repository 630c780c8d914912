"""The MTA's side, as far as tests need it: its packets, and the filter's replies taken apart."""

import struct
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

from filterrelay.wire.milter import (
    MOST,
    Action,
    Broken,
    Conversation,
    Event,
    Quit,
    State,
    Step,
    Wishes,
)

RECORDED = Path(__file__).parent / "recorded"
"""What Debian 12's Postfix 3.7.11, Sendmail 8.17.1.9 and miltertest said to a filter."""

ALL_ACTIONS = sum(Action)
POSTFIX_STEPS = 0x1FFFFF  # all but the sizes of packets


def packet(command: str, payload: bytes = b"") -> bytes:
    """One packet; command: its letter."""
    return struct.pack(">I", len(payload) + 1) + command.encode() + payload


def offer(version: int = 6, actions: int = ALL_ACTIONS, steps: int = POSTFIX_STEPS) -> bytes:
    """The beginning of a conversation."""
    return packet("O", struct.pack(">III", version, actions, steps))


CONNECT = packet("C", b"client.example\x004\x00\x19192.0.2.1\0")
HELO = packet("H", b"client.example\0")
MAIL = packet("M", b"<a@office.example>\0")
RCPT = packet("R", b"<b@office.example>\0")
UNKNOWN = packet("U", b"FOO\0")


def begun(wishes: Wishes | None = None, steps: int = POSTFIX_STEPS) -> Conversation:
    """A conversation with a client that has connected."""
    conversation = Conversation(wishes or Wishes())
    assert len(conversation.feed(offer(steps=steps) + CONNECT)) == 2
    return conversation


def in_pieces(conversation: Conversation, pieces: Iterable[bytes]) -> list[Event]:
    """All events that the pieces bring."""
    return [event for piece in pieces for event in conversation.feed(piece)]


def every(octets: bytes, size: int) -> Iterator[bytes]:
    """The octets in pieces of that size."""
    return (octets[start : start + size] for start in range(0, len(octets), size))


def told(octets: bytes, cuts: Iterable[int], wishes: Wishes, most: int = MOST) -> list[Event]:
    """The events, of octets cut at these places; an end is the last one, and little is held."""
    places = [0, *sorted(cuts), len(octets)]
    conversation = Conversation(wishes, most)
    events = in_pieces(conversation, (octets[a:b] for a, b in pairwise(places)))
    ended = [event for event in events if isinstance(event, Broken | Quit)]
    assert ended in ([], events[-1:])
    assert (conversation.state is State.CLOSED) is bool(ended)
    assert len(conversation._held) <= most + 4
    return events


def packets(octets: bytes) -> list[tuple[str, bytes]]:
    """What the filter sent: letters and contents."""
    found = []
    while octets:
        (length,) = struct.unpack_from(">I", octets)
        assert 0 < length <= len(octets) - 4
        found.append((chr(octets[4]), octets[5 : 4 + length]))
        octets = octets[4 + length :]
    return found


def wishes_of(steps: Step) -> Wishes:
    """Wishes for steps alone."""
    return Wishes(steps=steps)
