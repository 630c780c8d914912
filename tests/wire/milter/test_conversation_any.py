"""Whatever an MTA sends becomes events or a clean end, and no cut changes them."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from filterrelay.wire.milter import Step, Wishes

from .mta import CONNECT, MAIL, RCPT, RECORDED, offer, packet, told

RECORDINGS = [file.read_bytes() for file in sorted(RECORDED.glob("*.bin"))]

letters = st.sampled_from("ABCDEHKLMNOQRTUx")
texts = st.lists(st.binary(max_size=6), max_size=4).map(lambda parts: b"\0".join([*parts, b""]))
payloads = st.one_of(texts, st.binary(max_size=20), texts.map(lambda text: b"M" + text))
commands = st.builds(packet, letters, payloads)
lengths = st.integers(0, 2**32 - 1).map(lambda number: struct.pack(">I", number) + b"B")
streams = st.lists(st.one_of(commands, commands, commands, lengths, st.binary(max_size=9))).map(
    b"".join
)
steps = st.integers(0, 0x1FFFFF).map(Step)
cuts = st.lists(st.integers(0, 400), max_size=8)


@given(st.binary(max_size=300), cuts)
def test_any_octets_are_events_or_an_end(octets: bytes, cuts: list[int]) -> None:
    """Garbage from the beginning on."""
    assert told(octets, cuts, Wishes()) == told(octets, [], Wishes())


@given(streams, cuts, steps)
def test_any_commands_are_events_or_an_end(octets: bytes, cuts: list[int], steps: Step) -> None:
    """Right and wrong commands in any order, after a client has connected."""
    wishes = Wishes(steps=steps)
    octets = offer() + CONNECT + octets
    assert told(octets, cuts, wishes) == told(octets, [], wishes)


@given(st.sampled_from(RECORDINGS), st.data())
def test_a_damaged_conversation_is_events_or_an_end(octets: bytes, data: st.DataObject) -> None:
    """Real conversations with octets changed, added or lost."""
    damaged = bytearray(octets)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(damaged) - 1))
        damaged[place : place + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    whole = told(bytes(damaged), [], Wishes())
    assert told(bytes(damaged), data.draw(cuts), Wishes()) == whole


@given(
    st.lists(
        st.tuples(
            st.binary(min_size=1, max_size=30).filter(lambda name: b"\0" not in name),
            st.binary(max_size=300).filter(lambda value: b"\0" not in value),
        ),
        max_size=20,
    ),
    st.lists(st.binary(max_size=300), max_size=5),
)
def test_fields_and_body_arrive_as_they_were_sent(
    fields: list[tuple[bytes, bytes]], pieces: list[bytes]
) -> None:
    """Octet by octet, whatever they are."""
    message = [packet("L", b"%b\0%b\0" % field) for field in fields]
    message += [packet("N"), *(packet("B", piece) for piece in pieces)]
    events = told(offer() + CONNECT + MAIL + RCPT + b"".join(message), [], Wishes())
    assert events[4 : 4 + len(fields)] == fields
    assert events[5 + len(fields) :] == [(piece,) for piece in pieces]
