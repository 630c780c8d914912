"""What one client may take from the others: connections, time, guesses, patience."""

import asyncio
import base64
from contextlib import AsyncExitStack
from typing import Any

import pytest

from .peers.conversation import Answer, Closed, Conversation, connect, greeted, trusting_context
from .peers.program import USERS, Program
from .peers.sink import Sink

ANN, BOB = USERS


def start(program: Program, **limits: Any) -> int:
    """Starts the program with these limits; returns the open door's port."""
    program.config["limits"] = limits
    program.start()
    return program.ports["open"]


async def first_words(port: int, client: str) -> Answer:
    """What the door says to a new connection from that address."""
    async with connect(port, client=client) as conversation:
        return await conversation.read()


async def until_admitted(port: int, client: str) -> None:
    """Tries again until the door has noticed that there is room."""
    async with asyncio.timeout(10):
        for _ in range(100):
            if (await first_words(port, client)).code == 220:
                return
            await asyncio.sleep(0.05)


async def test_one_client_gets_so_many_connections(program: Program) -> None:
    """The fourth from one address is answered 421 4.7.0; another address is let in."""
    port = start(program, connections_per_client=3)
    async with AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(greeted(port, client="127.3.0.1"))
        answer = await first_words(port, "127.3.0.1")
        assert (answer.code, answer.enhanced) == (421, "4.7.0")
        await stack.enter_async_context(greeted(port, client="127.3.0.2"))
    await until_admitted(port, "127.3.0.1")


async def test_all_clients_together_get_so_many_connections(program: Program) -> None:
    """Beyond the whole number everybody is answered 421 4.7.0, until one goes."""
    port = start(program, connections=4)
    async with AsyncExitStack() as stack:
        for n in range(4):
            await stack.enter_async_context(greeted(port, client=f"127.3.1.{n + 1}"))
        answer = await first_words(port, "127.3.1.9")
        assert (answer.code, answer.enhanced) == (421, "4.7.0")
    await until_admitted(port, "127.3.1.9")


async def test_a_refused_connection_is_closed(program: Program) -> None:
    """It isn't left open to be counted nowhere."""
    port = start(program, connections_per_client=1)
    async with greeted(port), connect(port) as second:
        assert (await second.read()).code == 421
        assert await second.is_closed()


async def test_an_idle_session_ends_with_421(program: Program) -> None:
    """After command_timeout the door says so and closes (RFC 5321 section 4.5.3.2.7)."""
    port = start(program, command_timeout="1s")
    async with greeted(port) as idle:
        answer = await idle.read(10)
        assert (answer.code, answer.enhanced[:2]) == (421, "4.")
        assert await idle.is_closed()


async def test_one_octet_a_moment_is_idle_too(program: Program) -> None:
    """A command that never ends doesn't keep the session alive."""
    port = start(program, command_timeout="1s")
    async with greeted(port) as slow:
        with pytest.raises(Closed):
            await _trickle(slow, b"NOOP ")


async def test_a_message_must_arrive_in_time(program: Program, sink: Sink) -> None:
    """data_timeout is for the whole message: a line a moment doesn't extend it."""
    port = start(program, data_timeout="2s")
    async with greeted(port) as slow:
        await slow.ask(b"MAIL FROM:<ann@office.example>")
        await slow.ask(b"RCPT TO:<user@partner.example>")
        await slow.ask(b"DATA")
        with pytest.raises(Closed):
            await _trickle(slow, b"a line\r\n")
    assert sink.arrivals == []


async def _trickle(conversation: Conversation, octets: bytes) -> None:
    """Sends for ten seconds at most, a little at a time; the end of patience raises Closed."""
    await conversation.send(octets)
    for _ in range(100):
        await asyncio.sleep(0.1)  # slowness is what is tested
        await conversation.send(octets[:1] if octets[-1:] != b"\n" else octets)


async def _log_in(port: int, login: str, password: str, client: str) -> Answer:
    async with greeted(port, client=client) as conversation:
        assert (await conversation.ask(b"STARTTLS")).code == 220
        await conversation.start_tls(trusting_context())
        await conversation.ask(b"EHLO client.office.example")
        return await conversation.log_in(login, password)


async def test_guessing_passwords_locks_out(program: Program) -> None:
    """After three wrong ones even the right one is refused for a while: 454 or 421 4.7.0.

    Another login from another address is not concerned; and the lock-out ends.
    """
    start(program, login_failures=3, lockout="10s")
    port = program.ports["submission"]
    for _ in range(3):
        wrong = await _log_in(port, ANN, "wrong", "127.3.2.1")
        assert (wrong.code, wrong.enhanced) == (535, "5.7.8")
    locked = await _log_in(port, ANN, USERS[ANN], "127.3.2.1")
    assert locked.code in {421, 454}
    assert locked.enhanced == "4.7.0"
    assert (await _log_in(port, BOB, USERS[BOB], "127.3.2.2")).code == 235
    async with asyncio.timeout(40):
        while (await _log_in(port, ANN, USERS[ANN], "127.3.2.1")).code != 235:  # noqa: ASYNC110  a client can only try again
            await asyncio.sleep(0.3)


async def test_a_guess_tells_nothing_about_who_exists(program: Program) -> None:
    """A wrong password and an unknown login get the same words."""
    start(program)
    port = program.ports["submission"]
    known = await _log_in(port, ANN, "wrong", "127.3.3.1")
    unknown = await _log_in(port, "nobody@office.example", "wrong", "127.3.3.2")
    assert known == unknown


async def test_guessing_on_one_connection_is_bounded(program: Program) -> None:
    """Many AUTH commands in one session end with 421."""
    start(program, login_failures=100, errors=5)
    guess = b"AUTH PLAIN " + base64.b64encode(f"\0{ANN}\0wrong".encode())
    async with greeted(program.ports["submission"]) as conversation:
        await conversation.ask(b"STARTTLS")
        await conversation.start_tls(trusting_context())
        await conversation.ask(b"EHLO client.office.example")
        answers = [await conversation.ask(guess)]
        while answers[-1].code != 421 and len(answers) < 20:
            answers.append(await conversation.ask(guess))
        assert answers[-1].code == 421
        assert await conversation.is_closed()


async def test_too_many_errors_end_the_session(program: Program) -> None:
    """Three bad commands are borne, the next one is answered 421 4.7.0."""
    port = start(program, errors=3)
    async with greeted(port) as conversation:
        for _ in range(3):
            assert (await conversation.ask(b"FROBNICATE")).code // 100 == 5
        answer = await conversation.ask(b"FROBNICATE")
        assert (answer.code, answer.enhanced) == (421, "4.7.0")
        assert await conversation.is_closed()


async def test_too_many_commands_without_a_message_end_the_session(program: Program) -> None:
    """Nothing but NOOP is no use to anybody; a message in between begins the count anew."""
    port = start(program, commands=20)
    async with greeted(port) as useful:
        for _ in range(3):
            for _ in range(10):
                assert (await useful.ask(b"NOOP")).code == 250
            answer = await useful.deliver(
                "ann@office.example", ["user@partner.example"], b"\r\nText.\r\n"
            )
            assert answer.code == 250
    async with greeted(port) as useless:
        answers = [await useless.ask(b"NOOP")]
        while answers[-1].code == 250 and len(answers) < 40:
            answers.append(await useless.ask(b"NOOP"))
        assert answers[-1].code == 421
        assert len(answers) >= 15
        assert await useless.is_closed()


async def test_a_session_may_send_so_many_messages(program: Program, sink: Sink) -> None:
    """Then the client is asked to come again, after the last message was taken."""
    port = start(program, messages=2)
    text = b"Subject: one of many\r\n\r\nText.\r\n"
    async with greeted(port) as conversation:
        for _ in range(2):
            answer = await conversation.deliver(
                "ann@office.example", ["user@partner.example"], text
            )
            assert answer.code == 250
        answer = await conversation.ask(b"MAIL FROM:<ann@office.example>")
        assert answer.code == 421
        assert await conversation.is_closed()
    await asyncio.to_thread(sink.wait_for, "one of many", 2)


async def test_a_message_has_so_many_recipients(program: Program, sink: Sink) -> None:
    """The fourth is answered 452 4.5.3; the message goes to the three before it."""
    port = start(program, recipients=3)
    async with greeted(port) as conversation:
        await conversation.ask(b"MAIL FROM:<ann@office.example>")
        answers = [
            await conversation.ask(f"RCPT TO:<user{n}@partner.example>".encode()) for n in range(4)
        ]
        assert [answer.code for answer in answers] == [250, 250, 250, 452]
        assert answers[3].enhanced == "4.5.3"
        await conversation.ask(b"DATA")
        await conversation.send(b"Subject: to three\r\n\r\nText.\r\n.\r\n")
        assert (await conversation.read()).code == 250
    arrivals = await asyncio.to_thread(sink.wait_for, "to three")
    reached = sorted(address for arrival in arrivals for address in arrival.recipients)
    assert reached == [f"user{n}@partner.example" for n in range(3)]


async def test_memory_has_a_budget(program: Program, sink: Sink) -> None:
    """Clients who all send a lot at once are taken one after another, or told 452 4.3.1."""
    port = start(program, in_flight_memory="4 MiB", message_size="2 MiB")
    text = b"Subject: heavy\r\n\r\n" + (b"x" * 70 + b"\r\n") * 25_000  # 1.8 MB

    async def submit(n: int) -> Answer:
        async with greeted(port, client=f"127.3.4.{n + 1}") as conversation:
            return await conversation.deliver("ann@office.example", ["user@partner.example"], text)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(submit(n)) for n in range(12)]
    answers = [task.result() for task in tasks]
    taken = [answer for answer in answers if answer.code == 250]
    assert taken, "some must get through"
    others = [answer for answer in answers if answer.code != 250]
    assert all((answer.code, answer.enhanced) == (452, "4.3.1") for answer in others), others
    await asyncio.to_thread(sink.wait_for, "Subject: heavy", len(taken))
