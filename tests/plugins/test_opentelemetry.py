"""Messages and their deliveries as spans at a collector."""

import asyncio
import importlib
import socket
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from filterrelay_plugins import opentelemetry
from filterrelay_plugins.opentelemetry import OpenTelemetry

from filterrelay.mail.outcome import StepRecord
from filterrelay.plugin import Attempt, Outcome, Pass, Reject, Reply
from filterrelay.plugin.testing import (
    SOME_TIME,
    FakeClock,
    a_session,
    an_envelope,
    running,
)
from tests.acceptance.peers.collector import Collector, run_collector
from tests.acceptance.peers.process import free_port

ID = "01JGHKM5D3QXYZAB"
NOW = SOME_TIME.timestamp()
STEPS = (
    StepRecord("greeter", "on_connect", 0.1, "pass", began=1.0),
    StepRecord("spf", "on_sender", 0.5, "pass", began=57.0),
    StepRecord("clamav", "on_message", 1.5, "timeout", error="no answer in 1.5 s", began=58.0),
    StepRecord("spam", "on_message", 0.25, "reject", shadow=True, began=58.0),
)


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector on loopback."""
    with run_collector() as made:
        yield made


@pytest.fixture
def clock() -> FakeClock:
    """A clock that shows SOME_TIME after a minute."""
    made = FakeClock(SOME_TIME - timedelta(minutes=1))
    made.advance(timedelta(minutes=1))
    return made


def an_outcome(**changes: Any) -> Outcome:
    """A message that passed four plugins' turns within its last three seconds."""
    values: dict[str, Any] = {
        "id": ID,
        "at": SOME_TIME,
        "session": a_session(login="alice"),
        "envelope": an_envelope(
            "alice@office.example", "bob@partner.example", "eve@partner.example"
        ),
        "verdict": Pass(),
        "by": "",
        "reply": Reply(250, "2.0.0", "OK"),
        "size": 1234,
        "steps": STEPS,
    }
    return Outcome(**(values | changes))


def an_attempt(result: str = "delivered", **changes: Any) -> Attempt:
    """One that took two seconds."""
    values: dict[str, Any] = {
        "message_id": ID,
        "at": SOME_TIME,
        "recipient": an_envelope().recipients[0],
        "upstream": "provider",
        "host": "smtp.provider.example:587",
        "result": result,
        "reply": Reply(250, "2.0.0", "OK")
        if result == "delivered"
        else Reply(550, "5.1.1", "No bob@partner.example"),
        "seconds": 2.0,
        "number": 1,
    }
    return Attempt(**(values | changes))


async def test_a_message_is_a_trace_with_a_span_for_each_turn(
    collector: Collector, clock: FakeClock
) -> None:
    """At the times when they happened; what was asked once a connection is an event."""
    async with running(OpenTelemetry, endpoint=collector.url, clock=clock) as plugin:
        await plugin.on_outcome(outcome=an_outcome())
    (root,) = collector.named("message smtp")
    assert (root.begin, root.end) == (NOW - 3, NOW)
    assert root.parent == ""
    assert root.events == ("greeter on_connect",)
    assert root.attributes["filterrelay.message_id"] == ID
    assert root.attributes["filterrelay.verdict"] == "pass"
    assert root.resource["service.name"] == "filterrelay"
    turns = {span.name: span for span in collector.spans if span is not root}
    assert set(turns) == {"spf on_sender", "clamav on_message", "spam on_message"}
    assert {(span.trace, span.parent) for span in turns.values()} == {(root.trace, root.id)}
    scan = turns["clamav on_message"]
    assert (scan.begin, scan.end, scan.failed) == (NOW - 2, NOW - 0.5, "timeout")
    assert turns["spam on_message"].attributes["filterrelay.shadow"] is True


async def test_an_attempt_of_another_process_belongs_to_the_message_s_trace(
    collector: Collector, clock: FakeClock
) -> None:
    """Both derive the trace's ID from the message's."""
    async with running(OpenTelemetry, endpoint=collector.url, clock=clock) as plugin:
        await plugin.on_outcome(outcome=an_outcome(steps=()))
    async with running(OpenTelemetry, endpoint=collector.url, clock=clock) as plugin:
        await plugin.on_attempt(attempt=an_attempt())
        await plugin.on_attempt(attempt=an_attempt("bounced", message_id="ANOTHER"))
    (root,) = collector.named("message smtp")
    delivered, bounced = collector.named("deliver provider")
    assert (delivered.trace, delivered.parent) == (root.trace, root.id)
    assert (delivered.begin, delivered.end, delivered.failed) == (NOW - 2, NOW, None)
    assert bounced.trace != root.trace
    assert bounced.failed == "bounced", "a reply would tell an address"


@pytest.mark.parametrize(
    ("addresses", "told"),
    [
        ("none", set()),
        ("domains", {"office.example", "partner.example"}),
        ("full", {"alice@office.example", "bob@partner.example", "eve@partner.example", "alice"}),
    ],
)
async def test_what_of_addresses_leaves_is_chosen(
    collector: Collector, clock: FakeClock, addresses: str, told: set[str]
) -> None:
    """Domains, if nothing else is said."""
    options = {} if addresses == "domains" else {"addresses": addresses}
    options["endpoint"] = collector.url
    async with running(OpenTelemetry, clock=clock, options=options) as plugin:
        told_by = StepRecord("x", "on_message", 1.0, "error", error="no bob@partner.example")
        await plugin.on_outcome(outcome=an_outcome(steps=(told_by,)))
        await plugin.on_attempt(attempt=an_attempt("bounced"))
    (turn,) = collector.named("x on_message")
    assert turn.failed == ("no bob@partner.example" if addresses == "full" else "error")
    found: set[str] = set()
    for span in collector.spans:
        about = span.attributes
        found.update(about.get("filterrelay.recipients", ()))
        found.update(
            about[f"filterrelay.{name}"]
            for name in ("sender", "recipient")
            if f"filterrelay.{name}" in about
        )
        found.update({about["enduser.id"]} if "enduser.id" in about else ())
    assert found == told
    if addresses != "full":
        assert "bob@" not in repr(collector.spans)


async def test_a_sample_keeps_whole_messages(collector: Collector, clock: FakeClock) -> None:
    """A message that is left out is left out with its deliveries."""
    async with running(OpenTelemetry, endpoint=collector.url, clock=clock, sample=0.5) as plugin:
        for number in range(200):
            await plugin.on_outcome(outcome=an_outcome(id=f"M{number}", steps=STEPS[1:2]))
            await plugin.on_attempt(attempt=an_attempt(message_id=f"M{number}"))
    roots = {span.trace for span in collector.named("message smtp")}
    assert 60 < len(roots) < 140
    assert {span.trace for span in collector.named("deliver provider")} == roots
    assert {span.trace for span in collector.named("spf on_sender")} == roots


async def test_a_refusal_is_no_error_of_the_relay_s(collector: Collector, clock: FakeClock) -> None:
    """Who decided is told."""
    refused = an_outcome(
        verdict=Reject(Reply(550, "5.7.1", "No")), by="spam", reply=Reply(550, "5.7.1", "No")
    )
    async with running(OpenTelemetry, endpoint=collector.url, clock=clock) as plugin:
        await plugin.on_outcome(outcome=refused)
    (root,) = collector.named("message smtp")
    assert root.failed is None
    assert root.attributes["filterrelay.verdict"] == "reject"
    assert root.attributes["filterrelay.by"] == "spam"
    assert root.attributes["smtp.reply_code"] == 550


async def test_the_secret_is_sent_and_read_from_a_file(
    collector: Collector, clock: FakeClock, tmp_path: Path
) -> None:
    """As Authorization."""
    (tmp_path / "secret").write_text("Bearer mellon\n")
    async with running(
        OpenTelemetry,
        endpoint=collector.url,
        clock=clock,
        base_dir=tmp_path,
        options={"authorization_file": "secret"},
    ) as plugin:
        await plugin.on_attempt(attempt=an_attempt())
    assert collector.headers["authorization"] == "Bearer mellon"


async def test_the_probe_says_whether_the_collector_answers(
    collector: Collector, clock: FakeClock
) -> None:
    """And fails with a reason when it doesn't, or refuses."""
    async with running(OpenTelemetry, endpoint=collector.url, clock=clock) as plugin:
        assert await plugin.probe() == f"{collector.url} takes traces"
        collector.status = 403
        with pytest.raises(ConnectionError, match="takes no traces"):
            await plugin.probe()


async def test_a_collector_that_is_down_costs_spans_only(clock: FakeClock) -> None:
    """Telling it is quick, and so is the end."""
    url = f"http://127.0.0.1:{free_port()}/v1/traces"
    async with running(OpenTelemetry, endpoint=url, clock=clock, timeout="0.2s") as plugin:
        for number in range(5000):
            await plugin.on_attempt(attempt=an_attempt(message_id=f"M{number}"))


async def test_a_collector_that_hangs_holds_up_no_end(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes the connection and says nothing; what waits for it is lost."""
    monkeypatch.setattr(opentelemetry, "_FAREWELL", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1/traces"
        async with asyncio.timeout(10), running(OpenTelemetry, endpoint=url, clock=clock) as plugin:
            for number in range(600):
                await plugin.on_attempt(attempt=an_attempt(message_id=f"M{number}"))


async def test_what_a_probe_finds_is_said_once(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """By the plugin: the library's words of each try are kept back."""
    port = free_port()  # by which others, whose last tries are still under way, are told apart
    url = f"http://127.0.0.1:{port}/v1/traces"
    async with running(OpenTelemetry, endpoint=url, clock=clock, timeout="0.2s") as plugin:
        with pytest.raises(ConnectionError, match="takes no traces"):
            await plugin.probe()
        assert str(port) not in caplog.text
        await plugin.on_attempt(attempt=an_attempt())
    assert "Failed to export" in caplog.text


@pytest.mark.parametrize("url", ["127.0.0.1:4318", "ftp://collector.example", "http://"])
async def test_an_endpoint_is_a_web_address(url: str) -> None:
    """Anything else is refused at start, in words."""
    with pytest.raises(Exception, match=r"endpoint: should be a web address"):
        async with running(OpenTelemetry, endpoint=url):
            pass


def test_without_its_packages_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are an extra."""
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'filterrelay\[opentelemetry\]'"):
        importlib.reload(opentelemetry)
