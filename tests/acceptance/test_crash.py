"""A 250 is a promise: what was acknowledged arrives, whatever dies in between."""

import os
import signal
import time

import pytest

from .peers.load import arrived, under_load
from .peers.process import children, members, wait_until
from .peers.program import Program
from .peers.sink import Sink

CUTS = 10
QUICK = 10.0  # seconds until the door is open again
# An attempt that a crash cut off is not made again at once, but at the time recorded before it.
AFTER_A_CUT = 100.0  # seconds


@pytest.fixture
def impatient(program: Program) -> Program:
    """A program that tries again soon."""
    program.config["delivery"] = {"retry": "1s", "retry_max": "2s", "drain": "10s"}
    return program


def _all_arrive(acknowledged: set[str], sink: Sink, seconds: float) -> None:
    wait_until(
        lambda: acknowledged <= set(arrived(sink)),
        "all that was acknowledged",
        seconds,
    )


def test_ten_power_cuts_lose_nothing(impatient: Program, sink: Sink) -> None:
    """kill -9 of everything at once under load, ten times on one spool: nothing promised is lost.

    Every other time the smart host is down, so that the spool is not empty at the cut.
    """
    acknowledged: set[str] = set()
    sink.pause = 0.02  # so that deliveries are under way at each cut
    for cut in range(CUTS):
        began = time.monotonic()
        impatient.start(QUICK)
        assert time.monotonic() - began < QUICK
        if cut % 2:
            sink.down()
        with under_load(impatient.ports["open"]) as load:
            load.wait_for(10 + 7 * cut)
            impatient.kill_all()
        acknowledged |= set(load.acknowledged)
        if cut % 2:
            sink.up()
    sink.pause = 0
    impatient.start(QUICK)
    assert len(acknowledged) >= CUTS * 10
    _all_arrive(acknowledged, sink, AFTER_A_CUT)
    wait_until(lambda: impatient.json_command("queue", "list") == [], "an empty queue", 30)
    assert impatient.stop() == 0


def test_nothing_comes_twice_without_a_crash(impatient: Program, sink: Sink) -> None:
    """At least once is for the crash; in quiet times it is exactly once."""
    impatient.start()
    with under_load(impatient.ports["open"]) as load:
        load.wait_for(200)
    _all_arrive(set(load.acknowledged), sink, AFTER_A_CUT)
    assert impatient.stop() == 0
    assert sorted(arrived(sink)) == sorted(load.acknowledged)
    assert load.refusals == []


def test_a_smart_host_that_was_down_gets_all_at_a_word(program: Program, sink: Sink) -> None:
    """Mail is taken while the upstream is down; `queue retry` sends it without the long wait."""
    program.config["delivery"] = {"retry": "1h", "retry_max": "1h"}
    sink.down()
    program.start()
    with under_load(program.ports["open"]) as load:
        load.wait_for(40)
    acknowledged = set(load.acknowledged)
    listed = program.json_command("queue", "list")
    assert len(listed) == len(acknowledged)
    waiting = 'filterrelay_queue_messages{state="queued",upstream="provider"}'
    wait_until(
        lambda: f"{waiting} {len(listed)}.0" in program.http("/metrics")[1],
        "all of them by upstream in the metrics",
        10,
    )
    sink.up()
    done = program.command("queue", "retry", "--recipient", "*@partner.example")
    assert done.returncode == 0, done.stderr
    _all_arrive(acknowledged, sink, 20)
    assert sorted(arrived(sink)) == sorted(acknowledged)
    wait_until(lambda: program.json_command("queue", "list") == [], "an empty queue", 10)


def _wait_for_another(leader: int, victim: int, count: int) -> None:
    def replaced() -> bool:
        now = children(leader)
        return victim not in now and len(now) == count

    wait_until(replaced, "another process in its place")


def test_a_process_that_dies_is_replaced(impatient: Program, sink: Sink) -> None:
    """Each process beneath the first is killed once under load: it is back, nothing is lost."""
    impatient.start()
    leader = impatient.process.pid
    before = children(leader)
    assert len(before) > impatient.config["workers"], "the workers and one for control"
    sink.pause = 0.02
    with under_load(impatient.ports["open"]) as load:
        load.wait_for(20)
        for victim in before:
            os.kill(victim, signal.SIGKILL)
            _wait_for_another(leader, victim, len(before))
            load.wait_for(20)
    sink.pause = 0
    _all_arrive(set(load.acknowledged), sink, AFTER_A_CUT)
    assert impatient.process.exit_code is None
    assert impatient.stop() == 0


def test_no_worker_outlives_its_supervisor(impatient: Program, sink: Sink) -> None:
    """When the first process alone is killed, the others end what they do and go."""
    impatient.start()
    group = impatient.process.pid
    with under_load(impatient.ports["open"]) as load:
        load.wait_for(20)
        os.kill(group, signal.SIGKILL)
        impatient.process.wait(5)
        wait_until(lambda: not members(group), "the end of all processes", 20)
    impatient.start(QUICK)
    _all_arrive(set(load.acknowledged), sink, AFTER_A_CUT)
