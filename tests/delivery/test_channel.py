"""One connection to a next hop: its time, its end, and what may not be said on it."""

import asyncio

import pytest

from filterrelay.delivery.channel import ConversationLost
from filterrelay.delivery.conversation import Conversation, Peer
from filterrelay.mail.reply import Reply


class Pipe(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__({"peername": ("::1", 25), "cipher": ("AES", "TLSv1.3", 128)})
        self.written = b""
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Keeps it."""
        self.written += data

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """The test speaks to the protocol itself."""

    def is_closing(self) -> bool:
        """Whether it was closed."""
        return self.closed

    def close(self) -> None:
        """Is closed."""
        self.closed = True

    abort = close


async def channel(timeout: float = 5) -> tuple[Conversation, Pipe]:
    """A conversation over it."""
    pipe = Pipe()
    return Conversation(pipe, Peer("mx.partner.example:25"), timeout), pipe


async def test_whom_it_speaks_with_is_known_from_the_connection() -> None:
    """For the trace."""
    conversation, _ = await channel()
    assert (conversation.address, conversation.cipher) == ("[::1]:25", "AES")


async def test_a_server_that_speaks_unasked_is_left() -> None:
    """What it says then would be taken for the next answer."""
    conversation, pipe = await channel()
    conversation.data_received(b"250 2.0.0 nobody asked\r\n")
    assert pipe.closed
    assert not conversation.usable


async def test_silence_ends_the_transaction_in_its_time() -> None:
    """With what was not answered."""
    conversation, _ = await channel(timeout=0.05)
    with pytest.raises(ConversationLost) as lost:
        await conversation.transaction(
            b"MAIL FROM:<>\r\n", [b"RCPT TO:<a@b.example>\r\n"], b"x\r\n"
        )
    assert lost.value.reason == "no answer in time"
    assert lost.value.deferral("mx") == Reply(451, "4.4.2", "mx: no answer in time")


async def test_leaving_waits_for_the_end() -> None:
    """QUIT goes out, and who waits sees the connection off."""
    conversation, pipe = await channel()
    leaving = asyncio.ensure_future(conversation.leave())
    await asyncio.sleep(0)
    assert pipe.written == b"QUIT\r\n"
    assert not leaving.done()
    conversation.connection_lost(None)
    await leaving
