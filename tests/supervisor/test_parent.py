"""Each child gets what it needs from its parent, and keeps nothing else."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from filterrelay.doors.admission import Admission
from filterrelay.settings import Settings
from filterrelay.supervisor import parent
from filterrelay.supervisor.board import Board
from filterrelay.supervisor.children import Child
from filterrelay.supervisor.generation import CONTROL, Generation
from filterrelay.supervisor.parent import Parent

from .conftest import wait_until

DOOR, METRICS = "127.0.0.1:2525", "127.0.0.1:9325"


@pytest.fixture
def one() -> Iterator[Generation]:
    """A generation that listens at two addresses."""
    settings = Settings.model_validate(
        {"listener": [{"kind": "smtp", "address": DOOR}], "metrics": {"address": METRICS}}
    )
    sockets = {name: socket.create_server(("127.0.0.1", 0)) for name in (DOOR, METRICS)}
    made = Generation(0, settings, 0.0, sockets, Admission(1), 0, Board(1), None, None)
    yield made
    for pid in made.children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    made.let_go()


async def waits(child: Child) -> None:
    """A child that says that it is ready, and no more."""
    child.say_ready()
    time.sleep(60)  # noqa: ASYNC251  # it is killed before


def listening(pid: int) -> set[int]:
    """The sockets that a process has, by their number in the system."""
    links = [str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir()]
    return {int(link[8:-1]) for link in links if link.startswith("socket:[")}


def _is_heard(generation: Generation) -> bool:
    generation.hear()
    return not generation.unready


@pytest.mark.parametrize(("slot", "kept"), [(0, DOOR), (CONTROL, METRICS)])
def test_a_child_keeps_its_own_sockets_only(
    one: Generation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slot: int, kept: str
) -> None:
    """Otherwise an address would be listened on that nobody serves any more."""
    monkeypatch.setattr(parent, "work", waits)
    monkeypatch.setattr(parent, "control", waits)
    other = Generation(1, one.settings, 0.0, {}, one.admission, 0, Board(1), None, None)
    other.sockets[DOOR] = socket.create_server(("127.0.0.1", 0))
    Parent(tmp_path, None).start(one, slot, [other])
    wait_until(lambda: _is_heard(one))
    (pid,) = one.children
    ours = {
        name: os.fstat(sock.fileno()).st_ino
        for name, sock in [*one.sockets.items(), ("other", other.sockets[DOOR])]
    }
    assert {name for name, number in ours.items() if number in listening(pid)} == {kept}
    assert all(sock.fileno() >= 0 for sock in one.sockets.values())
    other.let_go()


def test_no_pipe_is_left_by_a_fork_that_failed(
    one: Generation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried again and again."""

    def none_to_spare() -> NoReturn:
        raise BlockingIOError("no process to spare")

    monkeypatch.setattr(os, "fork", none_to_spare)
    made = Parent(tmp_path, None)
    before = len([*Path("/proc/self/fd").iterdir()])
    for slot in one.slots():
        with pytest.raises(BlockingIOError):
            made.start(one, slot, ())
    assert len([*Path("/proc/self/fd").iterdir()]) == before
    assert not one.children
