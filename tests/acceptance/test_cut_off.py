"""kill -9 in the middle of a delivery: whatever had been said, the message comes, and once."""

import os
import signal
from collections.abc import Callable

import pytest

from tests.delivery.far_side import Act, FarSide

from .peers.conversation import submit
from .peers.far_sides import STAGES, add_upstream, run_far_sides
from .peers.process import children, wait_until
from .peers.program import Program

BIG = 8 * 1024**2  # octets, more than the sockets in between hold
LINE = b"Line.\r\n"


def _sides() -> dict[str, FarSide]:
    """One that falls silent at each stage, with the commands one by one and all at once."""
    return {
        f"{stage}{'-pipelined' if extensions else ''}": FarSide(
            once={verb: Act.HANG}, extensions=extensions
        )
        for stage, verb in STAGES.items()
        for extensions in ((), ("PIPELINING",))
    }


def _kill_children(program: Program) -> None:
    """The workers and who keeps house; the first process starts others."""
    for child in children(program.process.pid):
        os.kill(child, signal.SIGKILL)


def _power_cut(program: Program) -> None:
    program.kill_all()
    program.start()


@pytest.mark.parametrize("cut", [_kill_children, _power_cut])
def test_a_cut_at_any_stage_repeats_the_message_and_loses_none(
    program: Program, cut: Callable[[Program], None]
) -> None:
    """All deliveries hang at their stage; then the power goes."""
    sides = _sides()
    program.config["workers"] = 1
    with run_far_sides(sides.values()):
        for name, side in sides.items():
            add_upstream(program, name, side)
        program.start()
        for name in sides:
            text = b"Subject: cut off\r\n\r\n" + LINE * _lines(name)
            submit(program.ports["open"], [f"user@{name}.example"], text)
        wait_until(lambda: all(side.hung.is_set() for side in sides.values()), "all in the middle")
        cut(program)
        wait_until(lambda: all(side.received for side in sides.values()), "all the mail")
        wait_until(lambda: program.json_command("queue", "list") == [], "an empty queue")
        program.assert_healthy_log()
        assert program.stop() == 0
    for name, side in sides.items():
        (message,) = side.received
        assert message.data.count(LINE) == _lines(name), name


def _lines(name: str) -> int:
    return BIG // len(LINE) if name.startswith("body") else 3
