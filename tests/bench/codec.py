"""The milter codec alone: header fields a second that one core makes events of."""

import struct
import time
from statistics import median

from rich.console import Console

from filterrelay.wire.milter import Conversation, Header, Step, Wishes
from tests.bench.errors import RunFailed
from tests.bench.targets import Target

NAME = "codec"
WANTED = 200_000  # header events a second
_MESSAGES = 2000
_PIECE = 16 * 1024  # octets fed at a time, about what a socket brings
_STEPS = Step.LEADING_SPACE | Step.QUIET_HEADERS | Step.SKIP

# As mail has them: the fields of a message that three servers have handled.
_FIELDS = (
    (b"Received", b" from mail.customer.example (mail.customer.example [203.0.113.9])\n\t"
     b"by mx.bench.example (Postfix) with ESMTPS id 4SbQ2k1Jz5z9rxB\n\t"
     b"for <office@bench.example>; Tue, 14 Nov 2023 10:21:33 +0000 (UTC)"),
    (b"DKIM-Signature", b" v=1; a=rsa-sha256; c=relaxed/relaxed; d=customer.example;\n\t"
     b"s=2023; t=1699957293; h=from:from:reply-to:subject:subject:date:date:\n\t"
     b" message-id:message-id:to:to:cc:mime-version:mime-version:\n\t"
     b" content-type:content-type; bh=" + b"A" * 43 + b"=; b=" + b"B" * 342 + b"=="),
    (b"From", b" Anna Example <anna@customer.example>"),
    (b"To", b" Office <office@bench.example>"),
    (b"Subject", b" Delivery note 4711 for your order"),
    (b"Date", b" Tue, 14 Nov 2023 11:21:30 +0100"),
    (b"Message-ID", b" <20231114102130.4711@customer.example>"),
    (b"MIME-Version", b" 1.0"),
    (b"Content-Type", b' multipart/mixed; boundary="=_0123456789abcdef"'),
    (b"Content-Language", b" en"),
    (b"X-Mailer", b" OfficeMail 4.2"),
)  # fmt: skip


def run(rounds: int, console: Console) -> Target:
    """Feeds whole messages in pieces, and judges the median rate of the rounds."""
    rates = [_rate() for _ in range(rounds)]
    console.print(f"{NAME}: {median(rates):,.0f} header events/s a core", highlight=False)
    return target(median(rates))


def target(rate: float) -> Target:
    """What is promised."""
    wanted = f"≥ {WANTED:,}"
    return Target("milter codec: header events/s a core", wanted, f"{rate:,.0f}", rate >= WANTED)


def _rate() -> float:
    conversation = Conversation(Wishes(steps=_STEPS))
    conversation.feed(_packet(b"O", struct.pack(">III", 6, 0x1FF, 0x1FFFFF)))
    conversation.feed(_packet(b"C", b"client\0" + b"4\0\x19192.0.2.1\0"))
    message = _message()
    octets = message * _MESSAGES
    headers = 0
    began = time.process_time()
    for start in range(0, len(octets), _PIECE):
        headers += sum(
            type(event) is Header for event in conversation.feed(octets[start : start + _PIECE])
        )
    seconds = time.process_time() - began
    if headers != _MESSAGES * len(_FIELDS):
        raise RunFailed(f"the milter codec made {headers} header events")
    return headers / seconds


def _message() -> bytes:
    """All that Postfix says of a small message; macros come before each header field."""
    said = [_packet(b"M", b"<anna@customer.example>\0"), _packet(b"R", b"<office@bench.example>\0")]
    for name, value in _FIELDS:
        said.append(_packet(b"D", b"Li\x004SbQ2k1Jz5z9rxB\0"))
        said.append(_packet(b"L", name + b"\0" + value + b"\0"))
    said += [_packet(b"N", b""), _packet(b"B", b"Hello\r\n"), _packet(b"E", b"")]
    return b"".join(said)


def _packet(command: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload) + 1) + command + payload
