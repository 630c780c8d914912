"""filterrelay behind a Postfix stops, starts and reloads, and no mail is lost or returned."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from .behind_postfix.ways import AFTER_QUEUE, WAYS, Office, run_behind
from .peers.conversation import Answer, greeted
from .peers.load import Load, arrived, under_load
from .peers.process import LOOPBACK, run, wait_until
from .peers.program import Program

pytestmark = [pytest.mark.peer("postfix"), pytest.mark.peer("dovecot")]

EACH = 15  # messages a way and part of a test
PAUSE = 0.2  # seconds between a client's messages: behind the queue they would only pile up
BEFORE_QUEUE = [way for way in WAYS if way not in AFTER_QUEUE]


@contextmanager
def loads(office: Office) -> Iterator[dict[str, Load]]:
    """Clients that send every way, at once; in the end, all that was promised has arrived once.

    A bounce would count as a second arrival: it has the message's header in it.
    """
    before = len(arrived(office.sink))
    with ExitStack() as stack:
        running = {
            way: stack.enter_context(under_load(office.port(way), clients=2, pause=PAUSE))
            for way in WAYS
        }
        yield running
    promised = sorted(tag for load in running.values() for tag in load.acknowledged)
    flush(office)
    wait_until(lambda: set(promised) <= set(arrived(office.sink)), "all that was promised", 30)
    assert sorted(arrived(office.sink)[before:]) == promised


def wait_for_each(running: dict[str, Load]) -> None:
    """Returns once so many more messages are acknowledged every way."""
    goals = [(load, len(load.acknowledged) + EACH) for load in running.values()]
    for load, goal in goals:
        load.wait_for(goal - len(load.acknowledged))


def flush(office: Office) -> None:
    """Has every Postfix try at once what it has deferred."""
    for postfix in office.postfixes.values():
        done = run(["postqueue", "-c", str(postfix.directory / "etc"), "-f"])
        assert done.returncode == 0, done.stderr


def reload(program: Program) -> None:
    """SIGHUP, and back when the new generation serves."""
    count = program.log_text().count('"reloaded"')
    program.reload()
    wait_until(lambda: program.log_text().count('"reloaded"') > count, "the reload")


async def deliver(port: int, subject: str) -> Answer:
    """The last word on one message."""
    message = f"Subject: {subject}\r\nFrom: <ann@office.example>\r\n\r\n".encode()
    async with greeted(port) as client:
        return await client.deliver("ann@office.example", ["user@partner.example"], message)


def test_a_restart_under_load_loses_nothing(behind_postfix: Office) -> None:
    """While filterrelay is away, clients come again, or Postfix keeps the mail."""
    with loads(behind_postfix) as running:
        wait_for_each(running)
        assert behind_postfix.program.stop() == 0
        behind_postfix.program.start()
        wait_for_each(running)
    for way, load in running.items():
        assert {refusal[0] for refusal in load.refusals} <= {"4"}, way
        if way in AFTER_QUEUE:
            assert (load.refusals, load.broken) == ([], []), way


def test_reloads_under_load_are_not_noticed(behind_postfix: Office) -> None:
    """Not one message is refused or late, whichever way it goes."""
    with loads(behind_postfix) as running:
        for _ in range(2):
            wait_for_each(running)
            reload(behind_postfix.program)
            wait_for_each(running)
    for way, load in running.items():
        assert (load.refusals, load.broken) == ([], []), way


async def test_without_filterrelay_nothing_passes_unfiltered(behind_postfix: Office) -> None:
    """As our files have it: before the queue 451, behind it mail waits; then all goes on."""
    office = behind_postfix
    assert office.program.stop() == 0
    try:
        for way in WAYS:
            answer = await deliver(office.port(way), f"without us {way}")
            assert answer.code == (250 if way in AFTER_QUEUE else 451), (way, answer)
            assert answer.enhanced[0] == ("2" if way in AFTER_QUEUE else "4")
        assert office.sink.about("without us") == []
    finally:
        office.program.start()
    flush(office)
    for way in AFTER_QUEUE:
        office.sink.wait_for(f"without us {way}")
    for way in BEFORE_QUEUE:
        assert (await deliver(office.port(way), f"with us again {way}")).code == 250
        office.sink.wait_for(f"with us again {way}")


async def test_a_milter_that_is_away_may_be_done_without(behind_postfix: Office) -> None:
    """milter_default_action = accept is the postmaster's choice: mail passes as it is."""
    sink = behind_postfix.sink
    settings = {"relay_transport": f"smtp:[{LOOPBACK}]:{sink.port}", "mynetworks": "127.0.0.0/8"}
    with run_behind("milter", {"action = tempfail": "action = accept"}, settings) as postfix:
        assert (await deliver(postfix.ports["smtp"], "unfiltered")).code == 250
        (arrival,) = sink.wait_for("Subject: unfiltered")
        assert b"DKIM-Signature" not in arrival.message
