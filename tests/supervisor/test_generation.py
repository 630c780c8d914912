"""A generation's life: its slots, its patience, its end."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from filterrelay.doors.admission import Admission
from filterrelay.settings import Limits, Settings
from filterrelay.supervisor import generation
from filterrelay.supervisor.board import Board, Standing
from filterrelay.supervisor.generation import CONTROL, LONGEST_PAUSE, PAUSE, Generation

TELLING = """
import os, signal
told = {signal.SIGUSR1, signal.SIGTERM}
signal.pthread_sigmask(signal.SIG_BLOCK, told)
os.write(1, b"ready\\n")
while True:
    os.write(1, f"{signal.Signals(signal.sigwait(told)).name}\\n".encode())
"""


@pytest.fixture
def one() -> Generation:
    """A generation of one worker with a grace of nothing."""
    settings = Settings.model_validate(
        {"listener": [{"kind": "smtp", "address": "127.0.0.1:0"}], "delivery": {"drain": "0s"}}
    )
    return Generation(3, settings, 0.0, {}, Admission(1, 2), 1, Board(1), None, None)


def a_child(process: str, slot: int) -> Any:
    """As much of a child as a generation looks at."""
    return type("Child", (), {"process": process, "slot": slot, "owner": f"owner of {process}"})


@pytest.fixture
def process(one: Generation) -> Iterator[subprocess.Popen[str]]:
    """Its worker, which says what signals it gets; only SIGKILL ends it."""
    with subprocess.Popen([sys.executable, "-c", TELLING], stdout=-1, text=True) as telling:
        assert telling.stdout is not None
        assert telling.stdout.readline() == "ready\n"
        reading, _ = os.pipe()
        one.took_in(telling.pid, a_child("g3w0", 0), reading)
        yield telling
        telling.kill()


def test_its_processes_have_names_of_their_own(one: Generation) -> None:
    """So that the metrics of two generations don't get into each other's files."""
    assert [one.name(slot) for slot in one.slots()] == ["g3w0", "g3control"]


def test_it_is_ready_when_all_have_said_so(one: Generation) -> None:
    """Not before, and not by one that ended without a word."""
    pipes = {slot: os.pipe() for slot in one.slots()}
    for slot, (reading, _) in pipes.items():
        one.took_in(1000 + slot, a_child(one.name(slot), slot), reading)
    os.write(pipes[CONTROL][1], b"1")
    os.close(pipes[0][1])
    one.hear()
    assert not one.is_ready()
    one.lost(1000)
    assert not one.is_ready()
    assert not one.unready
    reading, writing = os.pipe()
    one.took_in(2000, a_child("g3w0", 0), reading)
    os.write(writing, b"1")
    one.hear()
    assert one.is_ready()
    os.close(writing)
    os.close(pipes[CONTROL][1])


def test_what_a_lost_worker_held_is_free(one: Generation) -> None:
    """Its connections don't count any longer, and nobody takes it for ready."""
    reading, writing = os.pipe()
    one.took_in(1000, a_child("g3w0", 0), reading)
    one.board.mark(0, Standing.READY)
    one.admission.for_worker(0, one.band).enter("192.0.2.1", Limits())
    one.lost(1000)
    os.close(writing)
    assert one.board.count(Standing.READY) == 0
    assert sum(one.admission.totals) == 0
    assert list(one.owners()) == []


def test_who_keeps_dying_young_is_started_ever_later(one: Generation) -> None:
    """At once after a good life; after a short one in a second, two, four, up to a limit."""
    assert one.pause_after(100.0) == 0
    pauses = [one.pause_after(0.1) for _ in range(20)]
    assert pauses[:3] == [PAUSE, 2 * PAUSE, 4 * PAUSE]
    assert pauses[-1] == LONGEST_PAUSE
    assert one.pause_after(100.0) == 0
    assert one.pause_after(0.1) == PAUSE


def test_a_slot_is_due_once(one: Generation) -> None:
    """When its time has come."""
    now = time.monotonic()
    one.wants(0, now)
    one.wants(CONTROL, now + 100)
    assert one.due() == [0]
    assert one.due() == []
    assert one.missing == [(CONTROL, now + 100)]


def test_it_is_retired_then_drained_then_killed(
    one: Generation, process: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each when the patience before has run out; its port is free from the first on."""
    monkeypatch.setattr(generation, "RETIRED_FOR", 0.1)
    monkeypatch.setattr(generation, "MARGIN", 0.1)
    sock = socket.create_server(("127.0.0.1", 0))
    where = sock.getsockname()
    one.sockets["here"] = sock
    assert process.stdout is not None
    one.retire()
    with closing(socket.create_server(where)):
        assert process.stdout.readline() == "SIGUSR1\n"
    assert not one.is_draining()
    time.sleep(0.11)
    one.end_overdue()
    assert one.is_draining()
    assert process.stdout.readline() == "SIGTERM\n"
    time.sleep(0.11)
    one.end_overdue()
    assert process.wait(10) == -signal.SIGKILL


def test_it_may_be_drained_at_once(one: Generation, process: subprocess.Popen[str]) -> None:
    """Nothing more is started then."""
    one.wants(CONTROL, 0.0)
    one.drain()
    assert process.stdout is not None
    assert process.stdout.readline() == "SIGTERM\n"
    assert one.due() == []
    one.end_overdue()
    assert process.poll() is None


def test_only_needed_addresses_are_kept(one: Generation) -> None:
    """A child closes what others listen on."""
    for name in ("mine", "another's"):
        one.sockets[name] = socket.create_server(("127.0.0.1", 0))
    mine = one.sockets["mine"]
    one.let_go(keep={"mine"})
    assert list(one.sockets) == ["mine"]
    assert mine.fileno() >= 0
    one.let_go()
    assert mine.fileno() < 0
