"""A message's content and its memory: refused behind its end, counted as it comes."""

import pytest

from filterrelay.doors.arrival import FIRST_RESERVATION
from filterrelay.mail.reply import NO_MEMORY
from tests.doors.conftest import OpenDoor

TEXT = "Subject: a\r\n\r\nb\r\n"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("a\nb\r\n.", "550 5.6.11"),
        ("a\rb\r\n.", "550 5.6.11"),
        ("a\0b\r\n.", "550 5.6.11"),
        ("a\r\n" * 400 + ".", "552 5.3.4"),
        ("a" * 101 + "\r\n.", "500 5.6.0"),
        ("a: b\r\n" * 81 + "\r\n.", "552 5.3.4 The header section"),
        ("a:\r\n" * 101 + "\r\n.", "554 5.6.0"),
        (" dkim=pass\r\n\r\nb\r\n.", "554 5.6.0"),
    ],
)
async def test_bad_content_is_refused_behind_its_end(
    open_door: OpenDoor, content: str, code: str
) -> None:
    """The whole content is read first, so that none of it is taken for commands."""
    limits = {"message_size": 1000, "header_size": 480, "header_fields": 100}
    running = await open_door(limits=limits, policy={"max_line": 100})
    client = await running.connect()
    await client.begin()
    assert (await client.say("DATA")).startswith("354 ")
    answer = await client.say(content)
    assert answer.startswith(code)
    assert answer.endswith(" [TEST]")
    assert running.intake.messages == []
    ((_, size),) = running.intake.refused
    assert size == len(content) + 2
    assert running.budget.used == 0
    assert (await client.say("NOOP")).startswith("250 ")


async def test_a_large_message_arrives_whole(open_door: OpenDoor) -> None:
    """Many blocks make one message, and its memory is counted while it is held."""
    running = await open_door()
    client = await running.connect()
    await client.begin()
    await client.say("DATA")
    raw = b"Subject: large\r\n\r\n" + b"0123456789" * 7 + b"\r\n"
    raw += b"0123456789abcdef\r\n" * 50_000
    client.send(raw + b".\r\n")
    assert (await client.answer()).startswith("250 ")
    (message,) = running.intake.messages
    assert message.raw == raw
    assert message.reserved >= len(raw)
    assert running.budget.used == 0


async def test_refused_content_holds_no_memory(open_door: OpenDoor) -> None:
    """Who sends a header without end holds nothing while the rest of it is awaited."""
    running = await open_door()
    client = await running.connect()
    await client.begin()
    await client.say("DATA")
    client.send(b"a:\r\n" * 2000)
    await running.until(lambda: running.budget.used == 0)
    client.send(b"a:\r\n" * 2000 + b"\r\n.\r\n")
    assert (await client.answer()).startswith("554 5.6.0 ")


@pytest.mark.parametrize("command", ["DATA", "BDAT 40000000"])
async def test_an_announced_size_takes_no_memory(open_door: OpenDoor, command: str) -> None:
    """Who announces 40 MB holds memory for what has come, not for what is to come."""
    running = await open_door()
    client = await running.connect()
    await client.begin("SIZE=40000000")
    client.send(f"{command}\r\n".encode())
    await running.until(lambda: running.budget.used > 0)
    assert running.budget.used == FIRST_RESERVATION
    client.send(b"Subject: large\r\n\r\n" + b"0123456789abcdef\r\n" * 10_000)
    await running.until(lambda: running.budget.used >= 180_000)
    assert running.budget.used <= 400_000


async def test_a_small_message_takes_no_more_memory_than_it_announced(open_door: OpenDoor) -> None:
    """SIZE is believed where it asks for little; a lie is made up for as octets come."""
    running = await open_door()
    client = await running.connect()
    for raw in (TEXT, TEXT * 100):
        await client.begin("SIZE=17")
        await client.say("DATA", f"{raw}.")
    assert [message.reserved for message in running.intake.messages] == [17, 1700]


async def test_without_memory_data_is_put_off(
    open_door: OpenDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When memory stays spent, DATA gets 452 before a single octet of it is sent."""
    monkeypatch.setattr("filterrelay.doors.arrival.MEMORY_PATIENCE", 0.01)
    running = await open_door(memory=100_000)
    held, beyond = running.budget.reservation(), running.budget.reservation()
    await held.grow(90_000, 1)
    await beyond.grow(100_000, 1)
    client = await running.connect()
    await client.begin()
    assert await client.say("DATA") == f"{NO_MEMORY} [TEST]"
    held.release()
    await client.begin()
    assert (await client.say("DATA", f"{TEXT}.")).startswith("250 ")
    assert running.budget.used == 100_000


async def test_memory_that_runs_out_meanwhile_refuses_behind_the_end(
    open_door: OpenDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message that outgrows its room is swallowed and put off, and the session goes on."""
    monkeypatch.setattr("filterrelay.doors.arrival.MEMORY_PATIENCE", 0.01)
    running = await open_door(memory=200_000)
    held, beyond = running.budget.reservation(), running.budget.reservation()
    await held.grow(100_000, 1)
    await beyond.grow(400_000, 1)
    client = await running.connect()
    await client.begin()
    await client.say("DATA")
    client.send(b"Subject: large\r\n\r\n" + b"0123456789abcdef\r\n" * 20_000 + b".\r\n")
    assert await client.answer() == f"{NO_MEMORY} [TEST]"
    assert running.budget.used == 500_000
    assert (await client.say("NOOP")).startswith("250 ")


async def test_data_waits_for_memory(open_door: OpenDoor) -> None:
    """Memory that comes free in time is used."""
    running = await open_door(memory=100_000)
    held = running.budget.reservation()
    await held.grow(90_000, 1)
    await running.budget.reservation().grow(100_000, 1)
    client = await running.connect()
    await client.begin()
    client.send(b"DATA\r\n")
    await running.until(lambda: running.budget.short)
    held.release()
    assert (await client.answer()).startswith("354 ")


async def test_a_message_is_refused_once(open_door: OpenDoor) -> None:
    """Each chunk of a message that can't be taken hears the same, and it counts once."""
    running = await open_door()
    client = await running.connect()
    await client.begin()
    client.send(b"BDAT 2\r\na\nBDAT 3\r\nb\r\nBDAT 3 LAST\r\nc\r\n")
    answers = [await client.answer() for _ in range(3)]
    assert (
        answers == ["550 5.6.11 The message has a bare CR or LF; lines end with CR LF [TEST]"] * 3
    )
    assert len(running.intake.refused) == 1


async def test_a_chunk_beyond_the_limit_is_a_refused_message(open_door: OpenDoor) -> None:
    """It isn't read, but known of; outside a transaction there is no message to know of."""
    running = await open_door(limits={"message_size": 1000})
    client = await running.connect()
    await client.begin()
    assert (await client.say("BDAT 1001")).endswith(" [TEST]")
    assert await client.ended()
    other = await running.connect()
    await other.say("EHLO client.example")
    assert (await other.say("BDAT 1001")).startswith("503 5.5.1 ")
    assert await other.ended()
    assert len(running.intake.refused) == 1
