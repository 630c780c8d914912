"""Work on the queue while the relay serves: nothing is lost, refused or delivered twice."""

import asyncio
import time
from collections.abc import Callable, Iterator

import pytest

from .peers.conversation import connect
from .peers.load import arrived, under_load
from .peers.process import LOOPBACK, free_port, wait_until
from .peers.program import Program
from .peers.sink import Sink, run_sink

MESSAGE = b"From: <ann@office.example>\r\nSubject: Plans\r\n\r\nHello.\r\n"


@pytest.fixture
def backup(program: Program) -> Iterator[Sink]:
    """A second smart host, which only an operator sends mail to."""
    with run_sink() as running:
        upstream = {"name": "backup", "hosts": [f"{LOOPBACK}:{running.port}"], "tls": "none"}
        program.config["upstream"].append(upstream)
        yield running
        assert running.frowns == []


@pytest.fixture
def stuck(program: Program) -> Program:
    """A program whose mail for stuck.example waits for an hour."""
    program.config["delivery"] = {"retry": "1h", "retry_max": "1h"}
    nobody = f"{LOOPBACK}:{free_port()}"
    program.config["upstream"].append({"name": "nobody", "hosts": [nobody], "tls": "none"})
    program.config["route"] = [{"recipients": ["*@stuck.example"], "upstream": "nobody"}]
    return program


def act(program: Program, *arguments: str) -> int:
    """How many messages the verb says that it changed."""
    (count,) = program.json_command("queue", *arguments).values()
    assert isinstance(count, int)
    return count


def until(check: Callable[[], bool], step: Callable[[], object], seconds: float) -> None:
    """Takes the step again and again until the check holds."""
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, "not done in time"
        step()


def deliver(program: Program, to: str) -> str:
    """The reply to a message from ann to that recipient."""

    async def said() -> str:
        async with connect(program.ports["open"]) as conversation:
            await conversation.read()
            await conversation.ask(b"EHLO client.office.example")
            return str(await conversation.deliver("ann@office.example", [to], MESSAGE))

    return asyncio.run(said())


def waits(program: Program, count: int = 1) -> None:
    """Returns when so many messages have been tried and wait."""

    def tried() -> bool:
        listed = program.json_command("queue", "list")
        return len([m for m in listed if m["recipients"][0]["last_reply"]]) == count

    wait_until(tried, "an attempt", 20)


def test_everything_under_way_can_be_moved_under_load(
    program: Program, sink: Sink, backup: Sink
) -> None:
    """Held, released, redirected while clients send: all arrives elsewhere, once, unhindered."""
    program.config["delivery"] = {"retry": "1h", "retry_max": "1h"}
    sink.answers[b"RCPT"] = b"450 4.2.0 Try later"
    program.start()
    with under_load(program.ports["open"], clients=1) as load:
        load.wait_for(60)
        assert act(program, "hold", "--all") > 0
        assert act(program, "redirect", "backup", "--all") >= 60
        load.wait_for(20)
        assert act(program, "retry", "--all") > 0
        assert act(program, "release", "--all") > 0
        load.wait_for(20)
    acknowledged = set(load.acknowledged)
    until(
        lambda: acknowledged <= set(arrived(backup)),
        lambda: act(program, "redirect", "backup", "--state", "queued", "--all"),
        60,
    )
    assert sorted(arrived(backup)) == sorted(acknowledged)
    assert arrived(sink) == []
    assert (load.refusals, load.broken) == ([], [])
    wait_until(lambda: program.json_command("queue", "list") == [], "an empty queue", 20)
    assert program.stop() == 0
    assert "locked" not in program.log_text()
    program.assert_healthy_log()


def test_what_waits_for_a_next_hop_that_hangs_goes_another_way_at_once(
    program: Program, sink: Sink, backup: Sink
) -> None:
    """Thousands in the workers' hands: only what has begun there goes there, and each goes once."""
    program.config["upstream"][0]["connections"] = 2
    sink.pause = 4.0
    program.start()
    with under_load(program.ports["open"], clients=8, octets=500) as load:
        load.wait_for(2000, 60)
    assert act(program, "redirect", "backup", "--all") > 1900
    begun = sink.begun
    wait_until(
        lambda: len(arrived(backup)) >= len(load.acknowledged) - begun, "arrival elsewhere", 30
    )
    wait_until(lambda: program.json_command("queue", "list") == [], "an empty queue", 30)
    assert sorted(arrived(sink) + arrived(backup)) == sorted(load.acknowledged)
    assert (sink.begun, load.refusals, load.broken) == (begun, [], [])


def test_a_bounced_message_is_returned_to_its_sender(stuck: Program, sink: Sink) -> None:
    """In the operator's words, by the running relay, without waiting for the next attempt."""
    stuck.start()
    assert deliver(stuck, "bob@stuck.example").startswith("250 ")
    waits(stuck)
    assert act(stuck, "bounce", "--recipient", "*@stuck.example", "--reason", "We moved") == 1
    (report,) = sink.wait_for("We moved")
    assert (report.sender, report.recipients) == ("", ("ann@office.example",))
    assert b"Action: failed" in report.message
    wait_until(lambda: stuck.json_command("queue", "list") == [], "an empty queue", 10)


def test_mail_moves_to_another_relay_as_files(stuck: Program, sink: Sink) -> None:
    """Exported here, deleted, imported and delivered; a second import brings it no second time."""
    stuck.start()
    assert deliver(stuck, "bob@stuck.example").startswith("250 ")
    waits(stuck)
    folder = str(stuck.home / "out")
    assert stuck.json_command("queue", "export", "--all", "--to", folder)["exported"] == 1
    assert act(stuck, "delete", "--all") == 1
    assert stuck.json_command("queue", "import", folder)["imported"] == 1
    assert act(stuck, "redirect", "provider", "--all") == 1
    (arrival,) = sink.wait_for("bob@stuck.example")
    assert arrival.sender == "ann@office.example"
    wait_until(lambda: stuck.json_command("queue", "list") == [], "an empty queue", 10)
    again = stuck.json_command("queue", "import", folder)
    assert (again["imported"], again["known"]) == (0, 1)


def test_a_closed_destination_is_refused_at_the_door(program: Program) -> None:
    """In the route's words, before the message is sent."""
    closed = {"recipients": ["*@closed.example"], "upstream": "reject"}
    program.config["route"] = [closed | {"reply": "550 5.1.1 This office is closed"}]
    program.start()
    assert deliver(program, "bob@closed.example") == "550 5.1.1 This office is closed"
    assert deliver(program, "bob@partner.example").startswith("250 ")
    assert program.command("route", "bob@closed.example").returncode == 1
