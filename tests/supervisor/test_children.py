"""A child process: how it ends, and what it says of itself meanwhile."""

import asyncio
import os
import signal
import ssl
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from filterrelay.doors.admission import Admission
from filterrelay.errors import FilterRelayError
from filterrelay.observe.clock import SystemClock
from filterrelay.settings import Listener, Settings
from filterrelay.spool.memory import MemorySpool
from filterrelay.spool.store import Event, SpoolUnavailable
from filterrelay.supervisor import children
from filterrelay.supervisor.board import Board, Standing
from filterrelay.supervisor.children import (
    BROKEN,
    FAILED,
    STDERR,
    TELL,
    Child,
    drain,
    fork,
    watch_spool,
)

from .conftest import until


def a_child(tmp_path: Path, ready: int) -> Child:
    """What a child gets, without sockets."""
    return Child(
        settings=Settings(listener=(Listener(kind="smtp", address="127.0.0.1:0"),)),
        sockets={},
        admission=Admission(1),
        band=0,
        board=Board(1),
        tls=ssl.create_default_context(),
        certificate_end=None,
        metrics_dir=tmp_path,
        process="w0",
        owner="owner",
        slot=0,
        life=-1,
        ready=ready,
        account=None,
    )


@pytest.mark.parametrize(
    ("error", "code"), [(None, 0), (FilterRelayError("bad"), FAILED), (ValueError("odd"), BROKEN)]
)
def test_the_exit_code_says_how_it_ended(
    tmp_path: Path, error: Exception | None, code: int
) -> None:
    """Done, a named error, or something that nobody foresaw."""
    reading, writing = os.pipe()

    async def main(child: Child) -> None:
        child.say_ready()
        if error is not None:
            raise error

    pid = fork(a_child(tmp_path, writing), main)
    os.close(writing)
    assert os.read(reading, 10) == b"1"
    os.close(reading)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == code


def test_a_log_on_a_full_disk_neither_stops_a_start_nor_an_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child that can't hand on its last words ends all the same, and at its own place."""
    reading, writing = os.pipe()

    async def main(child: Child) -> None:
        print("last words")  # to the full disk

    with Path("/dev/full").open("w") as full, Path(os.devnull).open("w") as sink:
        full.write("first words")
        monkeypatch.setattr("sys.stdout", full)
        here = os.getpid()
        try:
            pid = fork(a_child(tmp_path, writing), main)
        except OSError:
            pid = 0
        if os.getpid() != here:
            os._exit(99)  # it came out of fork
        monkeypatch.undo()
        os.dup2(sink.fileno(), full.fileno())  # so that it can be closed
    os.close(reading)
    os.close(writing)
    assert pid
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_child_that_hangs_says_where(tmp_path: Path) -> None:
    """Its stack is on standard error, though its event loop does nothing any more."""
    reading, writing = os.pipe()
    errors = tmp_path / "errors"
    errors.touch()

    async def hang_here(child: Child) -> None:
        os.dup2(os.open(errors, os.O_WRONLY | os.O_APPEND), STDERR)
        child.say_ready()
        time.sleep(60)  # noqa: ASYNC251  # that is the fault

    pid = fork(a_child(tmp_path, writing), hang_here)
    assert os.read(reading, 1) == b"1"
    os.kill(pid, TELL)
    for _ in range(500):
        if "hang_here" in errors.read_text():
            break
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(reading)
    os.close(writing)
    assert "hang_here" in errors.read_text()


class WriterlessSpool(MemorySpool):
    """Its writer is dead, or isn't."""

    dead = False

    async def record(self, events: Sequence[Event]) -> None:
        if self.dead:
            raise SpoolUnavailable("its writer has ended")


async def test_a_worker_tells_when_it_can_write_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead writer thread shows in /readyz, not only in 451 for the clients."""
    monkeypatch.setattr(children, "LOOK_EVERY", 0.01)
    board, spool = Board(1), WriterlessSpool(SystemClock())
    watching = asyncio.create_task(watch_spool(spool, board, 0))
    await until(lambda: board.count(Standing.READY) == 1)
    spool.dead = True
    await until(lambda: board.count(Standing.AILING) == 1)
    spool.dead = False
    await until(lambda: board.count(Standing.READY) == 1)
    watching.cancel()


class SlowPart:
    """A door, and a scheduler, that take all the time they are given."""

    def __init__(self) -> None:
        self.given: list[float] = []
        self.scheduler = self

    async def drain(self, grace: float) -> None:
        self.given.append(grace)
        await asyncio.sleep(grace)


async def test_sessions_and_deliveries_share_one_grace() -> None:
    """What delivery.drain says is the time for all: the first leave some to the second."""
    slow: Any = SlowPart()
    loop = asyncio.get_running_loop()
    began = loop.time()
    await drain(slow, [slow, slow], 0.2)
    assert loop.time() - began < 0.3
    assert slow.given[:2] == pytest.approx([0.16, 0.16])
    assert slow.given[2] == pytest.approx(0.04, abs=0.03)
