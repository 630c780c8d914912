"""The stream: lines and blocks in any cut, bounded in memory and time."""

import asyncio

import pytest

from filterrelay.doors.connection import HIGH_WATER, Connection, HangUp, LineTooLong
from filterrelay.doors.replies import SHUTTING_DOWN, TIMED_OUT
from filterrelay.mail.reply import OK


class Wire(asyncio.Transport):
    """A transport that notes what is done with it."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []
        self.reading: list[str] = []
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent.append(bytes(data))

    def pause_reading(self) -> None:
        self.reading.append("paused")

    def resume_reading(self) -> None:
        self.reading.append("resumed")

    def abort(self) -> None:
        self.aborted = True

    def close(self) -> None:
        """A peer that doesn't read keeps the stream open."""

    def can_write_eof(self) -> bool:
        return False


@pytest.fixture
async def wire() -> Wire:
    """What the connection writes to."""
    return Wire()


@pytest.fixture
async def connection(wire: Wire) -> Connection:
    """A connection without a socket."""
    made = Connection(asyncio.get_running_loop())
    made.connection_made(wire)
    return made


@pytest.mark.parametrize("cut", range(1, 12))
async def test_lines_survive_any_cut(connection: Connection, cut: int) -> None:
    """A command may arrive in any two packets."""
    sent = b"NOOP\r\nQUIT\r\n"
    reading = asyncio.create_task(connection.read_line())
    await asyncio.sleep(0)
    connection.data_received(sent[:cut])
    await asyncio.sleep(0)
    connection.data_received(sent[cut:])
    assert await reading == b"NOOP"
    assert await connection.read_line() == b"QUIT"


async def test_replies_go_out_together(connection: Connection, wire: Wire) -> None:
    """Replies wait until the client's commands are all read (RFC 2920)."""
    connection.reply(OK)
    await connection.push("250 more")
    assert wire.sent == []
    connection.flush()
    assert wire.sent == [b"250 2.0.0 OK\r\n250 more\r\n"]


async def test_a_client_can_t_fill_the_memory(connection: Connection, wire: Wire) -> None:
    """Beyond the high-water mark nothing is read until the session is ready for it."""
    connection.data_received(b"x" * (HIGH_WATER + 1))
    assert wire.reading == ["paused"]
    block = await connection.read_block()
    assert len(block) == HIGH_WATER + 1
    reading = asyncio.create_task(connection.read_block())
    await asyncio.sleep(0)
    assert wire.reading == ["paused", "resumed"]
    connection.data_received(b"y")
    assert await reading == b"y"


async def test_a_client_that_doesn_t_read_isn_t_read(connection: Connection) -> None:
    """Who doesn't take the replies gets no further commands answered."""
    connection.pause_writing()
    reading = asyncio.create_task(connection.read_line())
    await asyncio.sleep(0)
    connection.data_received(b"NOOP")
    await asyncio.sleep(0)
    assert not reading.done()
    connection.resume_writing()
    await asyncio.sleep(0)
    connection.data_received(b"\r\n")
    assert await reading == b"NOOP"


async def test_a_long_line_is_skipped_whole(connection: Connection) -> None:
    """Not one octet of it is kept or taken for another command."""
    reading = asyncio.create_task(connection.read_line())
    for _ in range(5):
        connection.data_received(b"x" * 9_999 + b"\r")
        await asyncio.sleep(0)
        assert len(connection._buffer) <= 20_000
    connection.data_received(b"\nNOOP\r\n")
    with pytest.raises(LineTooLong):
        await reading
    assert await connection.read_line() == b"NOOP"


async def test_a_long_line_in_one_packet_is_skipped(connection: Connection) -> None:
    """The limit holds however the line arrives."""
    connection.data_received(b"x" * 20_000 + b"\r\nNOOP\r\n")
    with pytest.raises(LineTooLong):
        await connection.read_line()
    assert await connection.read_line() == b"NOOP"


async def test_a_pipeline_leaves_others_their_turn(connection: Connection) -> None:
    """Thousands of commands in the buffer don't stop the other sessions, nor a hang-up."""
    connection.data_received(b"NOOP\r\n" * 10_000)

    async def read_on() -> None:
        while True:
            await connection.read_line()

    reading = asyncio.create_task(read_on())
    await asyncio.sleep(0)
    assert len(connection._buffer) > 50_000
    connection.hang_up(SHUTTING_DOWN)
    with pytest.raises(HangUp):
        await reading
    assert len(connection._buffer) > 50_000


async def test_time_runs_out(connection: Connection) -> None:
    """A wait ends with 421 when the time allowed is over, and not before."""
    connection.allow(10)
    connection.allow(0.01)
    with pytest.raises(HangUp) as ending:
        await connection.read_line()
    assert ending.value.reply is TIMED_OUT


async def test_time_that_was_extended_does_not_run_out(connection: Connection) -> None:
    """The one timer looks at the newest deadline."""
    connection.allow(0.01)
    connection.allow(0.05)
    reading = asyncio.create_task(connection.read_line())
    done, _ = await asyncio.wait({reading}, timeout=0.02)
    assert not done
    with pytest.raises(HangUp):
        await reading


async def test_our_own_work_has_no_deadline(connection: Connection) -> None:
    """While we work on a command the client's time stands still."""
    connection.allow(0.005)
    connection.allow(None)
    await connection.pause(0.02)
    connection.data_received(b"NOOP\r\n")
    assert await connection.read_line() == b"NOOP"


async def test_a_pause_ends(connection: Connection) -> None:
    """Whatever the loop makes of parts of a millisecond, no client waits for ever."""
    for part in range(100):
        async with asyncio.timeout(5):
            await connection.pause(0.001 + part / 50_000)


async def test_a_pause_ends_early_with_the_conversation(connection: Connection) -> None:
    """Neither octets nor anything but the end interrupt a pause."""
    pausing = asyncio.create_task(connection.pause(60))
    await asyncio.sleep(0)
    connection.data_received(b"NOOP\r\n")
    await asyncio.sleep(0)
    assert not pausing.done()
    connection.hang_up(SHUTTING_DOWN)
    with pytest.raises(HangUp):
        await pausing


async def test_what_was_sent_before_the_end_is_still_read(connection: Connection) -> None:
    """Half-closing loses no command that came before."""
    connection.data_received(b"NOOP\r\nhalf")
    connection.eof_received()
    assert await connection.read_line() == b"NOOP"
    with pytest.raises(HangUp):
        await connection.read_line()


async def test_what_was_put_back_comes_again(connection: Connection) -> None:
    """Octets behind a message are the next command."""
    connection.data_received(b"OP\r\n")
    connection.put_back(b"NO")
    assert await connection.read_line() == b"NOOP"


async def test_a_client_that_never_closes_is_cut(
    connection: Connection, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The farewell is bounded in time."""
    monkeypatch.setattr("filterrelay.doors.connection.LINGER", 0.01)
    await connection.farewell(TIMED_OUT)
    assert wire.sent == [TIMED_OUT.encode()]
    assert wire.aborted


async def test_nothing_is_said_to_who_is_gone(connection: Connection, wire: Wire) -> None:
    """A lost connection gets no reply and no farewell."""
    connection.connection_lost(None)
    connection.reply(OK)
    connection.flush()
    await connection.farewell(TIMED_OUT)
    assert wire.sent == []
