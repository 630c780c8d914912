"""Workers that hang."""

import os
import signal
import time

import pytest

from filterrelay.doors.admission import Admission
from filterrelay.settings import Settings
from filterrelay.supervisor import vigil
from filterrelay.supervisor.board import Board, Standing
from filterrelay.supervisor.children import TELL
from filterrelay.supervisor.generation import CONTROL, Generation

from .test_generation import a_child


class Watched:
    """A generation of two workers and a control process, and what its processes are told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        settings = Settings.model_validate(
            {"listener": [{"kind": "smtp", "address": "127.0.0.1:0"}]}
        )
        self.generation = Generation(0, settings, 0.0, {}, Admission(2, 2), 0, Board(2), None, None)
        for pid, slot in ((100, 0), (101, 1), (102, CONTROL)):
            self.generation.took_in(pid, a_child(f"p{slot}", slot), os.open(os.devnull, 0))
        self.told: list[tuple[int, int]] = []
        self.vigil = vigil.Vigil(lambda pid, number: self.told.append((pid, number)))

    def pass_by(self, seconds: int, *lively: int, step: int = 1) -> None:
        """Time goes on; these slots give signs of life."""
        for _ in range(0, seconds, step):
            self.now += step
            for slot in lively:
                self.generation.board.mark(slot, Standing.READY)
            self.vigil.look([self.generation])


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    """Both workers are ready."""
    made = Watched(monkeypatch)
    made.pass_by(1, 0, 1)
    return made


def test_a_worker_that_hangs_says_where_and_is_ended(watched: Watched) -> None:
    """Its clients and its mail are free again two minutes later."""
    watched.pass_by(30, 0)
    assert watched.told == []
    watched.pass_by(60, 0)
    assert watched.told == [(101, TELL)]
    watched.pass_by(35, 0)
    assert (101, signal.SIGKILL) in watched.told
    assert {pid for pid, _ in watched.told} == {101}


def test_one_that_was_only_busy_goes_on(watched: Watched) -> None:
    """Its patience begins anew."""
    for _ in range(2):
        watched.pass_by(100, 0)
        watched.pass_by(1, 0, 1)
    assert watched.told == [(101, TELL), (101, TELL)]


def test_a_pause_of_the_whole_machine_ends_nobody(watched: Watched) -> None:
    """After it the supervisor may be the first to run; the workers have a while to show up."""
    watched.pass_by(3600, step=3600)
    watched.pass_by(30)
    assert {number for _, number in watched.told} == {TELL}


def test_a_process_that_is_gone_already_is_no_trouble(watched: Watched) -> None:
    """It is reaped a moment later."""

    def gone(pid: int, number: int) -> None:
        raise ProcessLookupError

    watched.vigil = vigil.Vigil(gone)
    watched.pass_by(200)
