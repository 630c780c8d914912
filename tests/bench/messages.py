"""Messages as an office sends them, made from a seed: text, alternative, with a picture.

Each carries a valid DKIM signature of another domain, as mail from an application often does, so
that a filter which verifies has something to verify. The signature leaves Message-ID out: it is
set for each sending.
"""

import base64
import random
import struct
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import dkim

from tests.bench import site

_SIGNED = [b"from", b"to", b"subject", b"date", b"mime-version", b"content-type"]
_NAMES = ["Anna", "Bernd", "Carla", "Deniz", "Emil", "Farah", "Greta", "Henrik", "Ines", "Jonas"]
_SUBJECTS = [
    "Minutes of the meeting on {day}",
    "Delivery note {number} for your order",
    "Question about the plan for {day}",
    "Offer {number}: spare parts for the workshop",
    "Re: appointment on {day}",
    "Timetable for the training course",
    "Reading of meter {number}",
]
_DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday"]
_SENTENCES = [
    "Thank you for the quick answer, {name} has passed the drawings on to the workshop.",
    "We meet on {day} at ten in the small room, please bring the list of open points.",
    "The parts for order {number} left our warehouse this morning with the regular carrier.",
    "{name} asks whether the second delivery can wait until {day}, as the store is being painted.",
    "As agreed on the telephone we have changed item {number} in the list and added two brackets.",
    "The measured values are within the tolerance, only sensor {number} will be replaced soon.",
    "Please let {name} know if the date does not suit you, then we shall look for another one.",
    "The minutes of the last meeting are in the shared folder, page {number} has the decisions.",
    "For the training course on {day} there are still places, the room is on the second floor.",
    "Our technician noted that the pump in building {number} makes a noise when it starts.",
    "The report covers the whole quarter and lists hours, material and travel separately.",
    "{name} will be on holiday from {day}; in the meantime please write to the whole team.",
]


@dataclass(frozen=True, slots=True)
class Sending:
    """One message ready for DATA: dot-stuffed, without Message-ID and without the final dot."""

    content: bytes

    def with_id(self, identifier: str) -> bytes:
        """A header line to send before the content."""
        return f"Message-ID: <{identifier}@{site.DOMAIN}>\r\n".encode()


def build_pool(size: int, count: int, seed: int, key: bytes) -> list[Sending]:
    """count different messages of about size bytes. key: PEM of the application's DKIM key."""
    rng = random.Random(seed)
    return [Sending(_stuffed(_signed(_message(rng, size, kind), key))) for kind in range(count)]


def _stuffed(message: bytes) -> bytes:
    return message.replace(b"\r\n.", b"\r\n..")


def _signed(message: bytes, key: bytes) -> bytes:
    signature: bytes = dkim.sign(
        message,
        site.APP_SELECTOR.encode(),
        site.APP_DOMAIN.encode(),
        key,
        canonicalize=(b"relaxed", b"relaxed"),
        include_headers=_SIGNED,
    )
    return signature + message


def _message(rng: random.Random, size: int, kind: int) -> bytes:
    """A message of one of four kinds; beyond 32 KiB it is always one with a picture."""
    room = size - 1100  # headers and the signature
    boundary = f"=_{rng.getrandbits(64):016x}"
    if size > 32 * 1024 or kind % 4 == 3:
        content_type = f'multipart/mixed; boundary="{boundary}"'
        text = _text(rng, min(6000, room // 3))
        picture = _picture(rng, room - len(text))
        parts = [
            f"Content-Type: text/plain; charset=utf-8\r\n\r\n{text}",
            'Content-Type: image/png; name="plan.png"\r\nContent-Transfer-Encoding: base64\r\n'
            f'Content-Disposition: attachment; filename="plan.png"\r\n\r\n{picture}',
        ]
        body = _multipart(boundary, parts)
    elif kind % 4 == 2:
        content_type = f'multipart/alternative; boundary="{boundary}"'
        text = _text(rng, room // 2 - 250)
        page = text.replace("\r\n\r\n", "</p>\r\n<p>")
        parts = [
            f"Content-Type: text/plain; charset=utf-8\r\n\r\n{text}",
            "Content-Type: text/html; charset=utf-8\r\n\r\n"
            f"<html><head><title>Note</title></head>\r\n<body><p>{page}</p></body></html>\r\n",
        ]
        body = _multipart(boundary, parts)
    else:
        content_type = "text/plain; charset=utf-8"
        body = _text(rng, room)
    return f"{_headers(rng, content_type)}\r\n\r\n{body}".encode()


def _headers(rng: random.Random, content_type: str) -> str:
    sent = datetime.now(UTC) - timedelta(seconds=rng.randrange(60))
    recipient = rng.choice(_NAMES)
    return "\r\n".join(
        [
            f"Date: {format_datetime(sent)}",
            f"From: {rng.choice(_NAMES)} Example <{site.SENDER}>",
            f"To: {recipient} Customer <{recipient.lower()}@{site.RECIPIENT_DOMAIN}>",
            f"Subject: {_filled(rng, rng.choice(_SUBJECTS))}",
            "MIME-Version: 1.0",
            f"Content-Type: {content_type}",
            "Content-Language: en",
            "X-Mailer: OfficeMail 4.2",
        ]
    )


def _filled(rng: random.Random, template: str) -> str:
    return template.format(
        name=rng.choice(_NAMES), day=rng.choice(_DAYS), number=rng.randrange(100, 10_000)
    )


def _text(rng: random.Random, size: int) -> str:
    """Paragraphs of a few sentences, a sentence a line."""
    lines: list[str] = [f"Dear {rng.choice(_NAMES)},", ""]
    length = 0
    while length < size - 60:
        for _ in range(rng.randrange(2, 6)):
            lines.append(_filled(rng, rng.choice(_SENTENCES)))
            length += len(lines[-1]) + 2
        lines.append("")
        length += 2
    lines += ["Kind regards", rng.choice(_NAMES), ""]
    return "\r\n".join(lines)


def _multipart(boundary: str, parts: list[str]) -> str:
    opened = "".join(f"--{boundary}\r\n{part}\r\n" for part in parts)
    return f"{opened}--{boundary}--\r\n"


def _picture(rng: random.Random, size: int) -> str:
    """A PNG of grey noise, base64 in lines of 76; size: bytes once encoded."""
    side = max(8, int((size * 0.73) ** 0.5))
    rows = b"".join(b"\0" + rng.randbytes(side) for _ in range(side))
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows, 1)),
        (b"IEND", b""),
    ]
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
    return base64.encodebytes(png).decode().replace("\n", "\r\n")
