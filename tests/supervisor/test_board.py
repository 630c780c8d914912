"""The bytes that all processes share."""

import os

from filterrelay.supervisor.board import Board, Standing


def test_the_parent_sees_what_a_child_marks() -> None:
    """A worker that is ready is known to the process that answers /readyz."""
    board = Board(3)
    pid = os.fork()
    if not pid:
        board.mark(1, Standing.READY)
        os._exit(0)
    os.waitpid(pid, 0)
    assert [board.count(standing) for standing in Standing] == [2, 1, 0]
    board.mark(1, Standing.AILING)
    assert [board.count(standing) for standing in Standing] == [2, 0, 1]
