"""A mail server that has us as its milter, packet by packet."""

import asyncio
import struct
from typing import Any

from filterrelay.doors.milter.session import MilterSession
from tests.doors.conftest import OpenDoor, RememberingIntake, RunningDoor
from tests.wire.milter.mta import POSTFIX_STEPS, offer, packet

ANN, BERT = "<ann@office.example>", "<bert@partner.example>"
FIELDS = ((b"From", b" Ann <ann@office.example>"), (b"Subject", b"  two\n\tlines"))
BODY = b"Hello\r\n.\r\n"
RAW = b"From: Ann <ann@office.example>\r\nSubject:  two\r\n\tlines\r\n\r\n" + BODY


def macros(command: str, **values: str) -> bytes:
    """Macros for a command."""
    texts = [text for name, value in values.items() for text in (f"{{{name}}}", value)]
    return packet("D", command.encode() + b"".join(f"{text}\0".encode() for text in texts))


def connect(address: str = "192.0.2.1", name: str = "client.example", family: str = "4") -> bytes:
    """A client has connected to the mail server."""
    where = struct.pack(">H", 4711) + address.encode() + b"\0" if family != "U" else b""
    return packet("C", name.encode() + b"\0" + family.encode() + where)


def said(letter: str, *texts: str) -> bytes:
    """HELO, MAIL or RCPT."""
    return packet(letter, b"".join(f"{text}\0".encode() for text in texts))


def content(*, fields: Any = FIELDS, body: bytes = BODY) -> bytes:
    """A message's fields, and its body in pieces that may part a line's end."""
    told = b"".join(packet("L", name + b"\0" + value + b"\0") for name, value in fields)
    pieces = (body[start : start + 65535] for start in range(0, len(body), 65535))
    return told + b"".join(packet("B", piece) for piece in pieces)


END = packet("E")


class MailServer:
    """One connection to the door."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, *packets: bytes) -> None:
        """Sends packets, and waits for nothing."""
        self.writer.write(b"".join(packets))

    async def reply(self) -> tuple[str, bytes]:
        """The next packet: its letter and what it says."""
        async with asyncio.timeout(10):
            (length,) = struct.unpack(">I", await self.reader.readexactly(4))
            said = await self.reader.readexactly(length)
        return chr(said[0]), said[1:]

    async def ask(self, *packets: bytes) -> tuple[str, bytes]:
        """The next packet once these were sent."""
        self.send(*packets)
        return await self.reply()

    async def end(self) -> list[tuple[str, bytes]]:
        """What is said at the end of the message, up to the verdict."""
        self.send(END)
        replies = [await self.reply()]
        while replies[-1][0] not in "cartdy":
            replies.append(await self.reply())
        return replies

    async def begin(self, recipient: str = BERT, *, client: bytes = b"") -> None:
        """A client, HELO, MAIL and RCPT, none of which is judged."""
        self.send(client or connect(), said("H", "client.example"))
        self.send(said("M", ANN), said("R", recipient))

    async def ended(self) -> bool:
        """Whether the door has hung up, with nothing more to say."""
        async with asyncio.timeout(10):
            return await self.reader.read() == b""


async def milter(open_door: OpenDoor, *stages: str, **options: Any) -> RunningDoor:
    """A milter door; stages: those that are judged, by their hooks' names."""
    intake = RememberingIntake(stages=frozenset(stages))
    options = {"name": "milter", "xclient_from": ("127.0.0.0/8",), **options}
    running: RunningDoor = await open_door(
        session=MilterSession, intake=intake, kind="milter", **options
    )
    return running


async def mail_server(
    running: RunningDoor, steps: int = POSTFIX_STEPS, **options: int
) -> MailServer:
    """A mail server that has agreed with the door on how to talk."""
    client = await running.connect(greeted=False)
    server = MailServer(client.reader, client.writer)
    letter, _ = await server.ask(offer(steps=steps, **options))
    assert letter == "O"
    return server
