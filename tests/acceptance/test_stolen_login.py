"""A password that was stolen: one command ends what is sent with it, for good and at once."""

import asyncio

from .peers.conversation import Answer, Conversation, greeted, trusting_context
from .peers.process import wait_until
from .peers.program import USERS, Program
from .peers.sink import Sink

ANN, BOB = USERS


async def _send(conversation: Conversation, login: str, subject: str) -> Answer:
    text = f"From: {login}\r\nSubject: {subject}\r\n\r\nHello.\r\n".encode()
    return await conversation.deliver(login, ["b@partner.example"], text)


async def test_freezing_an_account_ends_its_sessions_and_no_other(
    program: Program, sink: Sink
) -> None:
    """An open session, also one from before a reload, gets no further message in."""
    program.start()
    port, tls = program.ports["smtps"], trusting_context()
    async with greeted(port, tls=tls) as thief, greeted(port, tls=tls) as bob:
        for conversation, login in ((thief, ANN), (bob, BOB)):
            assert (await conversation.log_in(login, USERS[login])).code == 235
            assert (await _send(conversation, login, "before")).code == 250
        program.reload()
        await asyncio.to_thread(wait_until, lambda: '"reloaded"' in program.log_text(), "reload")
        frozen = await asyncio.to_thread(program.command, "user", "freeze", ANN)
        assert frozen.returncode == 0, frozen.stderr
        answer = await _send(thief, ANN, "afterwards")
        assert (answer.code, answer.enhanced) == (421, "4.7.0")
        assert await thief.is_closed()
        assert (await _send(bob, BOB, "afterwards")).code == 250
    async with greeted(port, tls=tls) as again:
        assert (await again.log_in(ANN, USERS[ANN])).code == 525
    await asyncio.to_thread(sink.wait_for, "Subject: ", 3)
    assert len(sink.about("Subject: afterwards")) == 1
