"""Whatever the next hop does in mid-sentence: nothing is lost, and nothing comes twice.

One relay meets all the faults at once, an upstream for each, and tries again soon, when
the far side has come to its senses.
"""

import re
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.delivery.far_side import Act, Answer, Endless, FarSide

from .peers.certificates import Certificates
from .peers.conversation import submit
from .peers.far_sides import STAGES, add_upstream, run_far_sides
from .peers.process import wait_until
from .peers.program import Program, run_program
from .peers.sink import Sink, run_sink
from .test_observed import series

SENDER = "ann@office.example"
BIG = 8 * 1024**2  # octets, more than the sockets in between hold
PATIENCE = 40.0  # seconds
RESULTS = ("delivered", "deferred", "bounced")
FAULTS: Mapping[str, tuple[Answer, str]] = {  # what comes once, and how the log has it
    "hang": (Act.HANG, "in time|[Tt]imed? ?out"),
    "drop": (Act.DROP, "closed|lost|EOF|reset"),
    "421": (b"421 4.3.2 Going down\r\n", "Going down"),
    "garbage": (b"\x15\x03\x01\xff\x00garbage\r\n", "no SMTP"),
    "endless-line": (Endless(b"2" * 8192), "no SMTP"),
    "endless-reply": (Endless(b"250-and so on\r\n" * 512), "no SMTP"),
}


@dataclass(frozen=True)
class Case:
    """Servers with a fault.

    first: what the log says of the first attempt; empty when a second host takes the
    message at once. octets: the message's size. upstream: how they are spoken to.
    """

    sides: tuple[FarSide, ...]
    first: str
    octets: int = 100
    upstream: Mapping[str, Any] = field(default_factory=dict)


def _cases() -> dict[str, Case]:
    """Every fault at every stage, with the commands one by one and all at once; and some more."""
    cases = {}
    for fault, (answer, first) in FAULTS.items():
        for stage, verb in STAGES.items():
            for extensions in ((), ("PIPELINING",)):
                side = FarSide(once={verb: answer}, extensions=extensions)
                name = f"{fault}-at-{stage}{'-pipelined' if extensions else ''}"
                if stage == "body":  # a reset may be quicker than the words
                    cases[name] = Case((side,), f"{first}|closed|lost|reset", BIG)
                else:
                    cases[name] = Case((side,), first)
    refusal = {"GREETING": b"554 5.3.2 No service here\r\n"}
    cases["554-at-greeting"] = Case((FarSide(once={**refusal}),), "No service here")
    cases["554-at-greeting-of-one-host"] = Case((FarSide(answers={**refusal}), FarSide()), "")
    for fault in ("hang", "drop", "garbage"):
        answer, _ = FAULTS[fault]
        side = FarSide(once={"HANDSHAKE": answer}, extensions=("STARTTLS",))
        cases[f"{fault}-at-handshake"] = Case(
            (side,), "TLS handshake", upstream={"tls": "required"}
        )
    hosts = (FarSide(), FarSide(implicit=True))  # the first speaks no TLS at all
    cases["garbage-at-implicit-handshake"] = Case(hosts, "", upstream={"tls": "implicit"})
    return cases


CASES = _cases()
PICKY = FarSide(answers={"RCPT": ["250 Ok", "450 4.2.0 Later", "550 5.1.1 Gone", "250 Ok"]})


@dataclass(frozen=True)
class Relay:
    """The program with its upstreams; the default one is a sink."""

    program: Program
    sink: Sink

    def said_of(self, recipient: str) -> list[dict[str, Any]]:
        """What the log says of each attempt for the recipient, oldest first."""
        attempts = [e for e in self.program.log_events() if e["event"] in RESULTS]
        return [attempt for attempt in attempts if recipient in attempt["recipients"]]

    def wait_for(self, recipient: str, result: str) -> list[dict[str, Any]]:
        """The same, once the recipient has come to that end."""
        wait_until(
            lambda: any(e["event"] == result for e in self.said_of(recipient)),
            f"{recipient} {result}",
            PATIENCE,
        )
        return self.said_of(recipient)


@pytest.fixture(scope="module")
def relay(certificates: Certificates) -> Iterator[Relay]:
    """A running one, which has accepted a message for each case."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.chain, certificates.key)
    cases = {**CASES, "picky": Case((PICKY,), "")}
    sides = [side for case in cases.values() for side in case.sides]
    for side in sides:
        side.tls = context
    with run_far_sides(sides), run_sink() as sink, run_program(certificates, sink.port) as program:
        program.config["delivery"] = {"retry": "1s", "retry_max": "1s"}
        for name, case in cases.items():
            settings = {"connect_timeout": "1s", "timeout": "1s", **case.upstream}
            add_upstream(program, name, *case.sides, **settings)
            program.config["upstream"][-1]["ca_file"] = str(certificates.authority)
        program.start()
        for name, case in cases.items():
            users = ("first", "second", "third") if name == "picky" else ("user",)
            text = f"Subject: {name}\r\n\r\n".encode() + b"Line.\r\n" * (case.octets // 7)
            submit(program.ports["open"], [f"{user}@{name}.example" for user in users], text)
        yield Relay(program, sink)
        assert program.stop() == 0


@pytest.mark.parametrize("name", CASES)
def test_a_fault_delays_the_message_and_no_more(relay: Relay, name: str) -> None:
    """It is put off with the reason, comes whole when it can, and only a lost answer repeats it."""
    case = CASES[name]
    attempts = relay.wait_for(f"user@{name}.example", "delivered")
    results = [attempt["event"] for attempt in attempts]
    assert results == ["deferred"] * (len(results) - 1) + ["delivered"]
    if case.first:
        assert re.search(case.first, attempts[0]["reply"]), attempts[0]
    else:
        assert len(results) == 1
    (message,) = [received.data for side in case.sides for received in side.received]
    assert f"Subject: {name}\r\n".encode() in message
    assert message.count(b"Line.\r\n") == case.octets // 7


def test_each_of_three_recipients_gets_what_its_reply_says(relay: Relay) -> None:
    """One has it, one gets it later, and the sender hears of the third."""
    assert len(relay.wait_for("first@picky.example", "delivered")) == 1
    results = [e["event"] for e in relay.wait_for("second@picky.example", "delivered")]
    assert results == ["deferred", "delivered"]
    assert len(relay.wait_for("third@picky.example", "bounced")) == 1
    taken = [received.recipients for received in PICKY.received]
    assert taken == [["RCPT TO:<first@picky.example>"], ["RCPT TO:<second@picky.example>"]]
    (bounce,) = relay.sink.wait_for("third@picky.example")
    assert bounce.sender == ""
    assert bounce.recipients == (SENDER,)
    assert b"5.1.1" in bounce.message


def test_the_metrics_say_how_far_each_attempt_came(relay: Relay) -> None:
    """Of every fault one, and its stage, but for what is sent and answered all at once."""
    stages = {"ehlo": "greeting", "dot": "after-dot", "handshake": "tls"}
    for name in CASES:
        relay.wait_for(f"user@{name}.example", "delivered")
    text = relay.program.http("/metrics")[1]
    for name, case in CASES.items():
        labels = {"upstream": name}
        stage = name.split("-at-")[1]
        if not stage.endswith("-pipelined") and stage != "body":
            labels["stage"] = stages.get(stage, stage)
        failures = series(text, "filterrelay_attempt_failures_total", **labels)
        assert failures == bool(case.first), name


def test_the_trace_tells_each_attempt(relay: Relay) -> None:
    """For people: where, why, how far it came, and when the next attempt is."""
    deferred, _ = relay.wait_for("second@picky.example", "delivered")
    told = relay.program.command("trace", deferred["message_id"]).stdout
    assert f"via picky at {PICKY.host}, no TLS, " in told
    assert "why: route" in told
    assert "failed at rcpt" in told
    assert "second@picky.example  deferred: 450 4.2.0 Later; again at 20" in told
    assert "third@picky.example  bounced: 550 5.1.1 Gone" in told
    assert "the sender is told in message" in told


def test_in_the_end_all_came_once_and_nothing_waits(relay: Relay) -> None:
    """Also a while later; and the sender heard of nothing but the one bounce."""
    for name in CASES:
        relay.wait_for(f"user@{name}.example", "delivered")
    wait_until(lambda: relay.program.json_command("queue", "list") == [], "an empty queue", 10)
    acknowledged = {n: sum(len(s.received) for s in c.sides) for n, c in CASES.items()}
    assert acknowledged == dict.fromkeys(CASES, 1)
    assert len(relay.sink.wait_for(SENDER)) == 1
