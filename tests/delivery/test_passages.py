"""What is told of a message that was passed on."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from filterrelay.delivery.hops import Hops
from filterrelay.delivery.passages import Passages
from filterrelay.delivery.record import Recorder
from filterrelay.mail.outcome import Attempt
from filterrelay.mail.reply import Reply
from filterrelay.mail.session import Session
from filterrelay.observe.metrics import Metrics
from filterrelay.plugin.testing import FakeClock, an_envelope
from filterrelay.spool.memory import MemorySpool
from filterrelay.spool.store import SpoolUnavailable

from .far_side import BODY, FarSide, far_side, upstream_settings

CLIENT = Session("S", "proxy", "proxy", "192.0.2.7", helo="client.example", esmtp=True)


class Told:
    """Passages to a far side, and what was told of them."""

    def __init__(self, side: FarSide, **changes: Any) -> None:
        config = upstream_settings(side, name="reinject", **changes)
        self.metrics, self.clock = Metrics(), FakeClock()
        self.attempts: list[Attempt] = []
        self.spool = MemorySpool(self.clock)
        self.work: list[asyncio.Task[None]] = []
        hops = Hops([config], [], "relay.example", self.metrics)
        self.passages = Passages(
            config=config,
            upstream=hops.named("reinject"),
            hostname="relay.example",
            spool=self.spool,
            clock=self.clock,
            metrics=self.metrics,
            recorder=Recorder(self.metrics, self.attempts.append),
            background=self._background,
        )

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        self.work.append(asyncio.ensure_future(work))

    async def pass_on(self) -> Reply:
        """One message to two recipients."""
        envelope = an_envelope("alice@office.example", "bob@p.example", "eve@p.example")
        passage = self.passages.open(CLIENT, local=False)
        passage.ask(envelope)
        for recipient in envelope.recipients:
            passage.ask(recipient)
        await passage.answers()
        reply = await self.passages.pass_on(passage, CLIENT, "ID", envelope, BODY)
        passage.abandon()
        await asyncio.gather(*self.work)
        return reply

    def count(self, series: str, **labels: str) -> float:
        """A series' value."""
        return self.metrics.registry.get_sample_value(series, labels) or 0.0


@pytest.mark.parametrize(
    ("answer", "result", "kind"),
    [
        ("250 2.0.0 Queued as 4711", "delivered", "2xx"),
        ("451 4.3.0 Later", "deferred", "4xx"),
        ("554 5.7.1 Spam", "bounced", "5xx"),
    ],
)
async def test_the_trace_has_the_next_hops_word(answer: str, result: str, kind: str) -> None:
    """As of any delivery: whose it was, to whom, how long it took; counted by recipients."""
    async with far_side(answers={".": answer}) as side:
        told = Told(side)
        assert str(await told.pass_on()) == answer
        told.passages.upstream.close()
    (event,) = await told.spool.events("ID")
    assert event.kind == "attempt"
    assert (event.data["upstream"], event.data["host"]) == ("reinject", side.host)
    assert [(each["result"], each["reply"]) for each in event.data["recipients"]] == (
        [(result, answer)] * 2
    )
    assert event.data["seconds"] >= 0
    assert [attempt.result for attempt in told.attempts] == [result] * 2
    labels = {"upstream": "reinject", "result": result, "reply": kind}
    assert told.count("filterrelay_deliveries_total", **labels) == 2


async def test_what_the_file_says_of_the_next_hop_is_kept_to() -> None:
    """XFORWARD where it is switched on."""
    async with far_side(extensions=["XFORWARD ADDR SOURCE"]) as side:
        told = Told(side, xforward=True)
        await told.pass_on()
        told.passages.upstream.close()
        assert "XFORWARD ADDR=192.0.2.7 SOURCE=REMOTE" in side.commands


async def test_refused_recipients_are_counted() -> None:
    """Beside those that a filter or our own rules refuse."""
    told = Told(FarSide(port=25))
    told.passages.refused("on_recipient", CLIENT, Reply(550, "5.1.1", "Gone"), "a@b.x", "c@d.x")
    labels = {"listener": "proxy", "hook": "on_recipient", "by": "next-hop"}
    assert told.count("filterrelay_refusals_total", **labels) == 1


async def test_a_trace_that_cant_be_kept_harms_no_mail(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reply is the next hop's whatever the spool can do."""

    async def fails(_: object) -> None:
        raise SpoolUnavailable("full")

    async with far_side() as side:
        told = Told(side)
        monkeypatch.setattr(told.spool, "record", fails)
        assert (await told.pass_on()).code == 250
        told.passages.upstream.close()


async def test_an_observer_that_fails_harms_no_mail(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the next hop has taken is taken, or its client would send it twice."""

    def fails(_: object) -> None:
        raise RuntimeError("a bug")

    async with far_side() as side:
        told = Told(side)
        monkeypatch.setattr(told.passages.recorder, "note", fails)
        assert (await told.pass_on()).code == 250
        told.passages.upstream.close()
