"""The chain: every plugin that has a say, in the order of the file."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import structlog

from filterrelay.chain.loader import PluginSet, waves
from filterrelay.chain.step import CANT_CHECK, Step
from filterrelay.errors import FilterRelayError
from filterrelay.mail.edits import Edit, edit_envelope, edit_message
from filterrelay.mail.envelope import Envelope, Recipient
from filterrelay.mail.finding import Finding
from filterrelay.mail.message import Message
from filterrelay.mail.outcome import Attempt, Outcome, Route, StepRecord
from filterrelay.mail.session import Credentials, Identity, Session
from filterrelay.mail.verdict import Defer, Pass, Verdict
from filterrelay.plugin.services import Services

log = structlog.get_logger(__name__)


@dataclass
class NotAnswered(FilterRelayError):
    """A plugin that had to answer could not."""

    plugin: str
    reason: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the filters made of a message.

    by: the plugin that decided, or empty. edits: all that were made, in order;
    envelope and message have them already.
    """

    verdict: Verdict
    by: str
    envelope: Envelope
    message: Message
    findings: Mapping[str, Finding]
    edits: tuple[Edit, ...]
    steps: tuple[StepRecord, ...]


class Chain:
    """All plugins of a configuration at work.

    timeout: seconds for all filters of one message together.
    """

    def __init__(self, plugins: PluginSet, timeout: float) -> None:
        """Takes checked plugins; nothing runs before `running`."""
        self._plugins = plugins
        self._timeout = timeout
        self._waves_of = lru_cache(maxsize=None)(self._waves)
        self._steps_of = lru_cache(maxsize=None)(self._steps)
        self._routers = [s for s in plugins.filters if "route" in s.plugin.hooks]
        self._told = {
            hook: [s for s in plugins if hook in s.plugin.hooks]
            for hook in ("on_outcome", "on_attempt")
        }

    @asynccontextmanager
    async def running(self, services: Callable[[Step], Services]) -> AsyncIterator[None]:
        """Every plugin inside its lifespan."""
        async with AsyncExitStack() as stack:
            for step in self._plugins:
                lifespan = step.plugin.hooks.get("lifespan")
                if lifespan is not None:
                    given = {"services": services(step)} if lifespan.parameters else {}
                    await stack.enter_async_context(lifespan.call(**given))
            yield

    def _steps(self, hook: str, listener: str) -> tuple[Step, ...]:
        return tuple(s for s in self._plugins.filters if s.handles(hook, listener))

    def _waves(self, listener: str) -> list[tuple[Step, ...]]:
        return waves(self._steps("on_message", listener))

    async def early(
        self, hook: str, session: Session, **arguments: Any
    ) -> tuple[Verdict, str, tuple[StepRecord, ...]]:
        """The verdict before there is a message, who gave it, and each step's record.

        hook: `on_connect`, `on_helo`, `on_sender` or `on_recipient`.
        """
        records: list[StepRecord] = []
        for step in self._steps_of(hook, session.listener):
            verdict, record = await step.ask(hook, {"session": session, **arguments})
            records.append(record)
            if not isinstance(verdict, Pass):
                return verdict, step.name, tuple(records)
        return Pass(), "", tuple(records)

    def has_early(self, hook: str, listener: str) -> bool:
        """Whether any plugin wants that hook there."""
        return bool(self._steps_of(hook, listener))

    async def judge(
        self,
        session: Session,
        envelope: Envelope,
        message: Message,
        without: Sequence[str] = (),
    ) -> Judgement:
        """Runs the filters on a message. without: instances that have no say this time."""
        run = _Run(session, envelope, message)
        try:
            async with asyncio.timeout(self._timeout):
                for wave in self._waves_of(session.listener):
                    if await run.wave([s for s in wave if s.name not in without]):
                        break
        except TimeoutError:
            log.warning("chain_out_of_time", seconds=self._timeout, message_id=message.id)
            run.verdict = Defer(CANT_CHECK)
            run.records.append(
                StepRecord("chain", "on_message", self._timeout, "timeout", error="out of time")
            )
        return run.judgement()

    async def sign(
        self, session: Session, envelope: Envelope, message: Message
    ) -> tuple[Message, tuple[Edit, ...], tuple[StepRecord, ...]]:
        """The message with every signer's edits made. Raises NotAnswered when one fails."""
        edits: list[Edit] = []
        records: list[StepRecord] = []
        for step in self._plugins.signers:
            given = {"session": session, "envelope": envelope, "message": message}
            made, record = await step.collect("sign", given)
            records.append(record)
            if record.error:
                raise NotAnswered(step.name, record.error)
            if made:
                edits.extend(made)
                message = edit_message(message, made)
        return message, tuple(edits), tuple(records)

    async def authenticate(self, session: Session, credentials: Credentials) -> Identity | None:
        """The first plugin's answer that is one. Raises NotAnswered when one failed instead."""
        given = {"session": session, "credentials": credentials}
        failed: NotAnswered | None = None
        for step in self._plugins.authenticators:
            identity, record = await step.collect("authenticate", given)
            if record.error:
                failed = NotAnswered(step.name, record.error)
            elif isinstance(identity, Identity):
                return identity
        if failed is not None:
            raise failed
        return None

    @property
    def routes(self) -> bool:
        """Whether a plugin wants to route."""
        return bool(self._routers)

    async def route(self, envelope: Envelope, recipient: Recipient) -> Route | None:
        """The first plugin's route; a failing one is passed over."""
        given = {"envelope": envelope, "recipient": recipient}
        for step in self._routers:
            route, _ = await step.collect("route", given)
            if isinstance(route, Route):
                return route
        return None

    async def tell_outcome(self, outcome: Outcome) -> None:
        """Tells every observer; their failures are logged only."""
        await self._tell("on_outcome", {"outcome": outcome})

    async def tell_attempt(self, attempt: Attempt) -> None:
        """Tells every observer; their failures are logged only."""
        await self._tell("on_attempt", {"attempt": attempt})

    def observed(self, hook: str) -> bool:
        """Whether anybody wants to be told."""
        return bool(self._told[hook])

    async def _tell(self, hook: str, given: Mapping[str, Any]) -> None:
        for step in self._told[hook]:
            await step.collect(hook, given)


class _Run:
    """One message on its way through the waves."""

    def __init__(self, session: Session, envelope: Envelope, message: Message) -> None:
        self.session = session
        self.envelope = envelope
        self.message = message
        self.verdict: Verdict = Pass()
        self.by = ""
        self.findings: dict[str, Finding] = {}
        self.edits: list[Edit] = []
        self.records: list[StepRecord] = []

    async def wave(self, wave: Sequence[Step]) -> bool:
        """Runs one wave; whether it ended the chain."""
        if not wave:
            return False
        first, *others = wave
        arguments = {
            "session": self.session,
            "envelope": self.envelope,
            "message": self.message,
            "findings": self.findings,
        }
        tasks = [asyncio.create_task(step.ask("on_message", arguments)) for step in others]
        try:
            if self._take(first, *await first.ask("on_message", arguments)):
                return True
            for step, task in zip(others, tasks, strict=True):
                if self._take(step, *await task):
                    return True
        finally:
            for task in tasks:
                task.cancel()
        return False

    def _take(self, step: Step, verdict: Verdict, record: StepRecord) -> bool:
        """Takes in a step's answer; whether it decides."""
        self.records.append(record)
        if verdict.finding is not None:
            self.findings.setdefault(step.plugin.use, verdict.finding)
        if isinstance(verdict, Pass):
            if verdict.edits:
                self.edits.extend(verdict.edits)
                self.message = edit_message(self.message, verdict.edits)
                self.envelope = edit_envelope(self.envelope, verdict.edits)
            return False
        self.verdict, self.by = verdict, step.name
        return True

    def judgement(self) -> Judgement:
        """What has come out."""
        return Judgement(
            self.verdict,
            self.by,
            self.envelope,
            self.message,
            self.findings,
            tuple(self.edits),
            tuple(self.records),
        )
