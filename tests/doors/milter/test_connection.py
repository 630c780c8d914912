"""A milter connection waits, is kept waiting, and ends without a loss."""

import asyncio

import pytest

from filterrelay.doors.milter import connection, session
from filterrelay.mail.edits import ReplaceBody
from filterrelay.mail.verdict import Pass
from tests.doors.conftest import OpenDoor, RunningDoor, held
from tests.doors.mail_server import (
    ANN,
    BERT,
    END,
    connect,
    content,
    macros,
    mail_server,
    milter,
    said,
)
from tests.wire.milter.mta import packet


async def test_scanners_at_work_keep_the_mail_server_waiting(
    open_door: OpenDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It hears of progress until there is a verdict."""
    monkeypatch.setattr(connection, "PROGRESS_EVERY", 0.01)
    running = await milter(open_door)
    running.intake.verdict = Pass()
    server = await mail_server(running)
    await server.begin()
    async with held(running.intake, "receive") as answer:
        server.send(content(), END)
        assert [await server.reply() for _ in range(3)] == [("p", b"")] * 3
        answer.set_result(None)
        while (letter := (await server.reply())[0]) == "p":
            pass
    assert letter == "c"


async def test_waiting_for_memory_keeps_the_mail_server_waiting(
    open_door: OpenDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sendmail would give us up before there is some, and may then go on without us."""
    monkeypatch.setattr(connection, "PROGRESS_EVERY", 0.01)
    monkeypatch.setattr("filterrelay.doors.arrival.MEMORY_PATIENCE", 0.2)
    running = await milter(open_door, memory=1000)
    others = [running.budget.reservation() for _ in range(2)]
    assert all(each.try_grow(1000) for each in others)
    server = await mail_server(running)
    await server.begin()
    server.send(content(body=b""))
    first, *_, (letter, reply) = await server.end()
    assert first == ("p", b"")
    assert letter == "y"
    assert reply.startswith(b"452 4.3.1 ")


@pytest.mark.parametrize(
    ("version", "letter", "begins"), [("Postfix 3.7.11", "p", b""), ("8.17.1", "y", b"451 4.3.0 ")]
)
async def test_a_slow_step_is_put_off_where_progress_is_not_known(
    open_door: OpenDoor,
    monkeypatch: pytest.MonkeyPatch,
    version: str,
    letter: str,
    begins: bytes,
) -> None:
    """Sendmail would give us up after 10 s and go on without us."""
    monkeypatch.setattr(connection, "PROGRESS_EVERY", 0.01)
    monkeypatch.setattr(session, "EARLY_PATIENCE", 0.05)
    running = await milter(open_door, "on_sender")
    server = await mail_server(running)
    async with held(running.intake, "on_sender"):
        server.send(macros("C", v=version), connect(), said("H", "a"), said("M", ANN))
        got, text = await server.reply()
    assert got == letter
    assert text.startswith(begins)


COMMANDS = "filterrelay_commands_total"


async def finished(running: RunningDoor) -> asyncio.Task[None]:
    """The door's draining, begun."""
    draining = asyncio.create_task(running.door.drain(20))
    await asyncio.sleep(0)
    return draining


async def test_drained_it_leaves_who_is_idle(
    open_door: OpenDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the first client, between two of them and between a client's messages."""
    monkeypatch.setattr(connection, "QUIET", 0.1)
    running = await milter(open_door)
    servers = [await mail_server(running) for _ in range(3)]
    for server in servers[:2]:
        server.send(connect(), said("H", "client.example"))
    servers[0].send(packet("K"))
    await running.until(lambda: len(running.intake.closed) == 1)
    await asyncio.sleep(0.1)
    await asyncio.wait_for(running.door.drain(20), 0.5)
    for server in servers:
        assert await server.ended()


async def test_drained_it_finishes_a_clients_mail(
    open_door: OpenDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message under way and those behind it, until there is a pause."""
    monkeypatch.setattr(connection, "QUIET", 0.2)
    running = await milter(open_door)
    running.intake.verdict = Pass()
    server = await mail_server(running)
    await server.begin()
    server.send(content())
    await running.until(lambda: running.budget.used > 0)
    draining = await finished(running)
    assert await server.end() == [("c", b"")]
    server.send(said("M", ANN), said("R", BERT), content())
    assert await server.end() == [("c", b"")]
    assert await server.ended()
    await draining
    assert len(running.intake.messages) == 2


async def test_a_client_that_leaves_while_it_drains_is_the_last(open_door: OpenDoor) -> None:
    """QUIT_NC: the next one needs another connection."""
    running = await milter(open_door)
    server = await mail_server(running)
    await server.begin()
    await running.until(lambda: running.count(COMMANDS, listener="milter", command="rcpt") == 1)
    draining = await finished(running)
    server.send(packet("K"))
    assert await server.ended()
    await draining


async def test_a_mail_server_that_goes_away_stops_nothing(open_door: OpenDoor) -> None:
    """What is being judged comes to its end, and its memory back; the log says who wasn't told."""
    running = await milter(open_door)
    server = await mail_server(running)
    await server.begin()
    async with held(running.intake, "receive"):
        server.send(content(), END)
        await running.until(lambda: running.intake.asked == ["receive"])
        server.writer.transport.abort()
        await asyncio.sleep(0.1)  # until the door has seen it
    await running.until(lambda: len(running.intake.closed) == 1)
    assert len(running.intake.messages) == 1
    assert running.budget.used == 0
    assert any(one["event"] == "milter_not_heard" for one in running.logs)


async def test_what_is_sent_ahead_of_a_reply_waits(open_door: OpenDoor) -> None:
    """A mail server may not have more than a little read before its turn."""
    running = await milter(open_door)
    running.intake.verdict = Pass()
    server = await mail_server(running)
    await server.begin()
    async with held(running.intake, "receive"):
        server.send(content(), END)
        await running.until(lambda: running.intake.asked == ["receive"])
        server.send(said("M", ANN), said("R", BERT), content(), END)
    assert [await server.reply(), await server.reply()] == [("c", b"")] * 2


async def test_who_is_silent_for_too_long_is_left(
    open_door: OpenDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of a message sooner than between them."""
    monkeypatch.setattr(connection, "LOOK_EVERY", 0.02)
    running = await milter(open_door, limits={"data_timeout": "50ms"})
    patient, server = await mail_server(running), await mail_server(running)
    await server.begin()
    server.send(content())
    assert await server.ended()
    assert running.budget.used == 0
    monkeypatch.setattr(connection, "IDLE", 0.05)
    assert await patient.ended()
    assert [one["event"] for one in running.logs].count("milter_timed_out") == 2


async def test_who_reads_no_new_body_is_left(
    open_door: OpenDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is to be sent takes memory, too."""
    monkeypatch.setattr(connection, "LOOK_EVERY", 0.02)
    running = await milter(open_door, limits={"data_timeout": "100ms"})
    running.intake.verdict = Pass()
    running.intake.edits = (ReplaceBody(b"0123456789abcd\r\n" * 1_000_000),)
    server = await mail_server(running)
    server.writer.transport.pause_reading()  # type: ignore[attr-defined]  # uvloop's both reads and writes
    await server.begin()
    server.send(content(), END)
    await running.until(lambda: len(running.intake.closed) == 1)
    assert [one["event"] for one in running.logs].count("milter_timed_out") == 1
