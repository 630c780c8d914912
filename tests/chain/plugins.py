"""Plugins that do as they are told, for the tests of the chain."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from prometheus_client import CollectorRegistry

from filterrelay.chain.step import Policy, Step
from filterrelay.mail.message import Message
from filterrelay.observe.clock import Clock
from filterrelay.observe.metrics import Metrics
from filterrelay.plugin import Finding, Options, Pass, Reject, Reply, Services, Verdict, hook
from filterrelay.plugin.discovery import check
from filterrelay.plugin.testing import FakeClock

REFUSED = Reply(550, "5.7.1", "No")


class Answers:
    """Answers with what `answer` holds: a verdict, an exception to raise, or None."""

    answer: ClassVar[Any] = None
    needs: ClassVar[tuple[str, ...]] = ()
    edits = False

    def __init__(self, options: Options) -> None:
        self.calls = 0
        self.seen: list[Message] = []

    @hook
    async def on_message(self, message: Message) -> Verdict | None:
        self.calls += 1
        self.seen.append(message)
        if isinstance(self.answer, BaseException):
            raise self.answer
        answer: Verdict | None = self.answer
        return answer


class Waits(Answers):
    """Answers when its gate is opened; `started` tells that it was asked."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.gate = asyncio.Event()
        self.started = asyncio.Event()
        self.cancelled = False

    @hook
    async def on_message(self, message: Message) -> Verdict | None:
        self.started.set()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        answer: Verdict | None = self.answer
        return answer


class Reads(Answers):
    """Keeps the findings that it was given."""

    needs = ("first",)

    @hook
    async def on_message(  # type: ignore[override]  # each plugin takes what it needs
        self, message: Message, findings: Mapping[str, Finding]
    ) -> None:
        self.calls += 1
        self.findings = findings


class Lives(Answers):
    """Notes when its lifespan begins and ends."""

    log: ClassVar[list[str]] = []

    @hook
    @asynccontextmanager
    async def lifespan(self, services: Services) -> AsyncIterator[None]:
        self.log.append(f"begin {services.hostname}")
        yield
        self.log.append("end")


def answering(answer: Any, base: type[Answers] = Answers, **attributes: Any) -> type[Answers]:
    """A plugin class that gives that answer."""
    return type("Answering", (base,), {"answer": answer, **attributes})


def step(
    cls: type[Any],
    name: str = "first",
    policy: Policy | None = None,
    *,
    use: str = "",
    clock: Clock | None = None,
    metrics: Metrics | None = None,
) -> Step:
    """A step around the class."""
    plugin = check(use or name, name, cls, {})
    return Step(
        plugin,
        policy or Policy(),
        clock or FakeClock(),
        metrics or Metrics(CollectorRegistry()),
    )


REJECTS = Reject(REFUSED, Finding("bad", "it is bad"))
PASSES = Pass(Finding("good"))
