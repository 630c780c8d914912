"""Has atheris look for octets that the milter codec can't bear.

    python -m tests.fuzz.milter DIRECTORY -max_total_time=60

It begins with recorded conversations; the directory gets what leads to new code.
"""

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["filterrelay.wire.milter"]):
    from filterrelay.wire.milter import Step, Wishes

from tests.wire.milter.mta import CONNECT, POSTFIX_STEPS, RECORDED, offer, packets, told

FRAMED = 0x80  # in a case's first octet: it has no lengths, so that they always fit
BEGUN = 0x40  # the client has connected already
SEPARATOR = b"\xfe\xff"  # between the packets of a framed case


def case_of(octets: bytes) -> bytes:
    """A case of a conversation's octets, framed."""
    pieces = [letter.encode() + payload for letter, payload in packets(octets)]
    return bytes([FRAMED, 0, 0, 64]) + SEPARATOR.join(pieces)


def check(case: bytes) -> None:
    """Octets become events or an end, the same ones however they are cut.

    Three octets say what the filter wishes for, one where the network cuts.
    """
    if len(case) < 4:
        return
    octets = case[4:]
    if case[0] & FRAMED:
        pieces = octets.split(SEPARATOR)
        octets = b"".join(len(piece).to_bytes(4) + piece for piece in pieces)
    if case[0] & BEGUN:
        octets = offer() + CONNECT + octets
    wishes = Wishes(steps=Step(int.from_bytes(case[:3]) & POSTFIX_STEPS))
    cuts = range(case[3], len(octets), case[3] + 1)
    assert told(octets, cuts, wishes) == told(octets, (), wishes)


if __name__ == "__main__":
    seeds = Path(sys.argv[1])
    for file in RECORDED.glob("*.bin"):
        (seeds / file.stem).write_bytes(bytes([0, 0, 0, 64]) + file.read_bytes())
        (seeds / f"{file.stem}_framed").write_bytes(case_of(file.read_bytes()))
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()
