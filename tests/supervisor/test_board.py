"""The bytes that all processes share."""

import os
import time

import pytest

from filterrelay.supervisor.board import SILENT_AFTER, Board, Standing


def test_the_parent_sees_what_a_child_marks() -> None:
    """A worker that is ready is known to the process that answers /readyz."""
    board = Board(3)
    pid = os.fork()
    if not pid:
        board.mark(1, Standing.READY)
        os._exit(0)
    os.waitpid(pid, 0)
    assert [board.count(standing) for standing in Standing] == [2, 1, 0, 0]
    board.mark(1, Standing.AILING)
    assert [board.count(standing) for standing in Standing] == [2, 0, 1, 0]


def test_who_says_nothing_for_long_counts_as_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that hangs was ready when it was last heard; one that never came is absent."""
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    board = Board(2)
    board.mark(1, Standing.READY)
    now += SILENT_AFTER
    assert board.standing(1) is Standing.READY
    now += 1
    assert [board.standing(0), board.standing(1)] == [Standing.ABSENT, Standing.SILENT]
    board.mark(1, Standing.READY)
    assert board.count(Standing.READY) == 1
