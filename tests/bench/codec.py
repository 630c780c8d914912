"""The milter codec alone: how many fields of a header it takes in a second on one core."""

import time
from dataclasses import dataclass

from filterrelay.wire.milter import Conversation, Header, Step, Wishes
from tests.bench.targets import Target
from tests.wire.milter.mta import CONNECT, MAIL, RCPT, RECORDED, offer, packet, packets

NAME = "codec"
WANTED = 200_000  # header events a second
_BLOCK = 64 * 1024  # octets that come at once
_FIELDS = 200_000  # in one run


@dataclass(frozen=True, slots=True)
class Speed:
    """Header events a second of CPU time, None if they weren't counted."""

    rate: float | None = None

    def target(self) -> Target:
        """What is promised."""
        text, wanted = "milter codec: header events/s a core", f"≥ {WANTED:,}"
        if self.rate is None:
            return Target(text, wanted, "not measured", None)
        return Target(text, wanted, f"{self.rate:,.0f}", self.rate >= WANTED)


def measure(runs: int) -> Speed:
    """The best of some runs with the fields, and the macros among them, that Postfix sent."""
    sent = packets((RECORDED / "postfix.bin").read_bytes())
    first = next(number for number, (letter, _) in enumerate(sent) if letter == "L") - 1
    last = next(number for number, (letter, _) in enumerate(sent) if letter == "N") - 1
    fields = b"".join(packet(letter, payload) for letter, payload in sent[first:last])
    block = fields * (_BLOCK // len(fields))
    return Speed(max(_rate(block) for _ in range(runs)))


def _rate(block: bytes) -> float:
    conversation = Conversation(Wishes(steps=Step.QUIET_HEADERS))
    conversation.feed(offer() + CONNECT + MAIL + RCPT)
    told, began = 0, time.process_time()
    while told < _FIELDS:
        told += len(conversation.feed(block))
    spent = time.process_time() - began
    assert isinstance(conversation.feed(block)[-1], Header)
    return told / spent
