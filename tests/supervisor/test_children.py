"""A child process: its exit code tells the supervisor how it ended."""

import os
import ssl
from pathlib import Path

import pytest

from filterrelay.doors.admission import Admission
from filterrelay.errors import FilterRelayError
from filterrelay.settings import Listener, Settings
from filterrelay.supervisor.board import Board
from filterrelay.supervisor.children import BROKEN, FAILED, Child, fork


def a_child(tmp_path: Path, ready: int) -> Child:
    """What a child gets, without sockets."""
    return Child(
        settings=Settings(listener=(Listener(kind="smtp", address="127.0.0.1:0"),)),
        sockets={},
        admission=Admission(1),
        board=Board(1),
        tls=ssl.create_default_context(),
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
