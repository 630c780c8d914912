"""The bytes that all processes share."""

import os

from filterrelay.supervisor.board import Board


def test_the_parent_sees_what_a_child_marks() -> None:
    """A worker that is ready is known to the process that answers /readyz."""
    board = Board(3)
    pid = os.fork()
    if not pid:
        board.mark(1, ready=True)
        os._exit(0)
    os.waitpid(pid, 0)
    assert board.ready() == 1
    board.mark(1, ready=False)
    assert board.ready() == 0
