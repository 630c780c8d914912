"""The chain: every plugin that has a say, in the order of the file."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import Any

import structlog

from filterrelay.chain.answers import as_identity, as_nothing, as_route, as_signed
from filterrelay.chain.loader import PluginSet, sources, waves
from filterrelay.chain.run import NO_FINDINGS, Judgement, Run
from filterrelay.chain.step import CANT_CHECK, Step
from filterrelay.errors import FilterRelayError
from filterrelay.mail.edits import Edit
from filterrelay.mail.envelope import Envelope, Recipient
from filterrelay.mail.finding import Finding
from filterrelay.mail.message import Message
from filterrelay.mail.outcome import Attempt, Outcome, Route, StepRecord
from filterrelay.mail.session import Credentials, Identity, Session
from filterrelay.mail.verdict import Defer, Pass, Verdict
from filterrelay.plugin.discovery import READS
from filterrelay.plugin.hooks import Reads
from filterrelay.plugin.services import Services

log = structlog.get_logger(__name__)


@dataclass
class NotAnswered(FilterRelayError):
    """A plugin that had to answer could not. steps: those asked, itself the last."""

    plugin: str
    reason: str
    steps: tuple[StepRecord, ...] = field(default=(), repr=False)

    def __str__(self) -> str:
        return f"plugin {self.plugin} gave no answer: {self.reason}"


class Chain:
    """All plugins of a configuration at work.

    timeout: seconds for all filters of one message, or of one command, together.
    """

    def __init__(self, plugins: PluginSet, timeout: float) -> None:
        """Takes checked plugins; nothing runs before `running`."""
        self._plugins = plugins
        self._timeout = timeout
        self._waves_of = lru_cache(maxsize=None)(self._waves)
        self._steps_of = lru_cache(maxsize=None)(self._steps)
        self._sources = sources(plugins.filters)
        self._stubborn: set[asyncio.Task[Any]] = set()
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

    @property
    def plugins(self) -> PluginSet:
        """All that are at work."""
        return self._plugins

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
        given, asked = {"session": session, **arguments}, ""
        try:
            async with asyncio.timeout(self._timeout):
                for step in self._steps_of(hook, session.listener):
                    asked = step.name
                    answer = await step.ask(hook, given)
                    records.append(answer.record)
                    if not isinstance(answer.verdict, Pass):
                        return answer.verdict, step.name, tuple(records)
        except TimeoutError:
            records.append(self._out_of_time(hook, asked))
            return Defer(CANT_CHECK), "", tuple(records)
        return Pass(), "", tuple(records)

    def _out_of_time(self, hook: str, waits_for: str) -> StepRecord:
        log.warning("chain_out_of_time", hook=hook, seconds=self._timeout, waits_for=waits_for)
        error = f"out of time, waiting for {waits_for}"
        return StepRecord("chain", hook, self._timeout, "timeout", error=error)

    def has_early(self, hook: str, listener: str) -> bool:
        """Whether any plugin wants that hook there."""
        return bool(self._steps_of(hook, listener))

    def reads(self, listener: str) -> Reads | None:
        """How much of a message there the filters and signers look at, None for nothing."""
        if self._plugins.signers:
            return "body"
        steps = self._steps_of("on_message", listener)
        return max((step.plugin.reads for step in steps), key=READS.index, default=None)

    async def judge(
        self,
        session: Session,
        envelope: Envelope,
        message: Message,
        *,
        findings: Mapping[str, Finding] = NO_FINDINGS,
        without: Sequence[str] = (),
    ) -> Judgement:
        """Runs the filters on a message.

        findings: what earlier hooks found, by instance. without: instances that
        have no say this time.
        """
        waves = self._waves_of(session.listener)
        if not waves:
            return Judgement(Pass(), "", envelope, message, findings, (), ())
        run = Run(session, envelope, message, findings, self._sources, self._stubborn)
        try:
            async with asyncio.timeout(self._timeout):
                for wave in waves:
                    if await run.wave([s for s in wave if s.name not in without]):
                        break
        except TimeoutError:
            run.verdict = Defer(CANT_CHECK)
            run.records.append(self._out_of_time("on_message", run.waits_for))
        return run.judgement()

    async def sign(
        self, session: Session, envelope: Envelope, message: Message
    ) -> tuple[Message, tuple[Edit, ...], tuple[StepRecord, ...]]:
        """The message with every signer's edits made. Raises NotAnswered when one fails."""
        edits: list[Edit] = []
        records: list[StepRecord] = []
        for step in self._plugins.signers:
            given = {"session": session, "envelope": envelope, "message": message}
            signed, record = await step.collect("sign", given, partial(as_signed, message))
            records.append(record)
            if signed is None:
                raise NotAnswered(step.name, record.error, tuple(records))
            made, message = signed
            edits.extend(made)
        return message, tuple(edits), tuple(records)

    async def authenticate(self, session: Session, credentials: Credentials) -> Identity | None:
        """The first plugin's answer that is one. Raises NotAnswered when one failed instead."""
        given = {"session": session, "credentials": credentials}
        failed: NotAnswered | None = None
        for step in self._plugins.authenticators:
            identity, record = await step.collect("authenticate", given, as_identity)
            if record.error:
                failed = NotAnswered(step.name, record.error)
            elif identity is not None:
                return replace(identity, source=step.name)
        if failed is not None:
            raise failed
        return None

    async def reconfirm(self, identity: Identity) -> Identity | None:
        """Who somebody that logged in is by now; None for nobody. Raises NotAnswered.

        The plugin that vouched for it is asked, if it wants to be.
        """
        for step in self._plugins.authenticators:
            if step.name == identity.source and "reconfirm" in step.plugin.hooks:
                found, record = await step.collect("reconfirm", {"identity": identity}, as_identity)
                if record.error:
                    raise NotAnswered(step.name, record.error)
                return None if found is None else replace(found, source=step.name)
        return identity

    @property
    def routes(self) -> bool:
        """Whether a plugin wants to route."""
        return bool(self._routers)

    async def route(self, envelope: Envelope, recipient: Recipient, listener: str) -> Route | None:
        """The first plugin's route for mail that came to that listener.

        A failing plugin is passed over, and so is one in shadow mode, whose route is logged.
        """
        given = {"envelope": envelope, "recipient": recipient}
        for step in self._routers:
            if not step.handles("route", listener):
                continue
            route, _ = await step.collect("route", given, as_route)
            if route is None:
                continue
            if not step.policy.shadow:
                return route
            log.info("shadow_route", plugin=step.name, upstream=route.upstream, reason=route.reason)
        return None

    async def tell_outcome(self, outcome: Outcome) -> None:
        """Tells every observer of that listener; their failures are logged only."""
        given = {"outcome": outcome}
        for step in self._told["on_outcome"]:
            if step.handles("on_outcome", outcome.session.listener):
                await step.collect("on_outcome", given, as_nothing)

    async def tell_attempt(self, attempt: Attempt) -> None:
        """Tells every observer; their failures are logged only."""
        for step in self._told["on_attempt"]:
            await step.collect("on_attempt", {"attempt": attempt}, as_nothing)

    def observed(self, hook: str) -> bool:
        """Whether anybody wants to be told."""
        return bool(self._told[hook])
