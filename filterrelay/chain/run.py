"""One message on its way through the filters, wave by wave."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import structlog

from filterrelay.chain.step import Answer, Step
from filterrelay.mail.edits import Edit
from filterrelay.mail.envelope import Envelope
from filterrelay.mail.finding import Finding
from filterrelay.mail.message import Message
from filterrelay.mail.outcome import StepRecord
from filterrelay.mail.session import Session
from filterrelay.mail.verdict import Pass, Verdict

CLEANUP = 1.0  # seconds that plugins get to clean up when nobody waits for their answer
NO_FINDINGS: Mapping[str, Finding] = MappingProxyType({})

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the filters made of a message.

    by: the plugin that decided, or empty. findings: by instance, in the order
    in which they came. edits: all that were made, in order; envelope and
    message have them already.
    """

    verdict: Verdict
    by: str
    envelope: Envelope
    message: Message
    findings: Mapping[str, Finding]
    edits: tuple[Edit, ...]
    steps: tuple[StepRecord, ...]


class Run:
    """The message as it stands, and what was said of it so far."""

    def __init__(
        self,
        session: Session,
        envelope: Envelope,
        message: Message,
        findings: Mapping[str, Finding],
        sources: Mapping[str, Mapping[str, Sequence[str]]],
        stubborn: set[asyncio.Task[Any]],
    ) -> None:
        """findings: those from before the message. stubborn: owns tasks that won't stop.

        sources: whose findings meet the needs, by instance, then by need, in file order.
        """
        self.verdict: Verdict = Pass()
        self.by = ""
        self.records: list[StepRecord] = []
        self._session = session
        self._envelope = envelope
        self._message = message
        self._findings = dict(findings)
        self._sources = sources
        self._stubborn = stubborn
        self._edits: list[Edit] = []
        self._asked: dict[str, None] = {}  # in this order, and not answered yet

    @property
    def waits_for(self) -> str:
        """The plugins that have not answered."""
        return ", ".join(self._asked)

    async def wave(self, steps: Sequence[Step]) -> bool:
        """Asks these steps at once; whether one of them decided."""
        if not steps:
            return False
        first, *others = steps
        tasks = [asyncio.create_task(self._ask(step), name=step.name) for step in others]
        try:
            if self._take(first, await self._ask(first)):
                return True
            for step, task in zip(others, tasks, strict=True):
                if self._take(step, await task):
                    return True
        finally:
            await self._stop([task for task in tasks if not task.done()])
        return False

    async def _ask(self, step: Step) -> Answer:
        self._asked[step.name] = None
        arguments = {
            "session": self._session,
            "envelope": self._envelope,
            "message": self._message,
            "findings": self._needed(step),
        }
        answer = await step.ask("on_message", arguments)
        del self._asked[step.name]
        return answer

    async def _stop(self, tasks: Sequence[asyncio.Task[Any]]) -> None:
        """Cancels them and waits until they have cleaned up, but not for long."""
        if not tasks:
            return
        for task in tasks:
            task.cancel()
        _, stubborn = await asyncio.wait(tasks, timeout=CLEANUP)
        for task in stubborn:
            log.warning("plugin_wont_stop", plugin=task.get_name())
            self._stubborn.add(task)
            task.add_done_callback(self._stubborn.discard)

    def _needed(self, step: Step) -> Mapping[str, Finding]:
        """What the step may read: of each need the first instance's finding in file order."""
        if not step.plugin.needs:
            return NO_FINDINGS
        needed = {}
        for need, names in self._sources[step.name].items():
            for name in names:
                if name in self._findings:
                    needed[need] = self._findings[name]
                    break
        return MappingProxyType(needed)

    def _take(self, step: Step, answer: Answer) -> bool:
        """Takes in a step's answer; whether it decides."""
        verdict = answer.verdict
        self.records.append(answer.record)
        if verdict.finding is not None:
            self._findings[step.name] = verdict.finding
        if isinstance(verdict, Pass):
            if answer.edited is not None:
                self._message, self._envelope = answer.edited
                self._edits.extend(verdict.edits)
            return False
        self.verdict, self.by = verdict, step.name
        return True

    def judgement(self) -> Judgement:
        """What has come out."""
        return Judgement(
            self.verdict,
            self.by,
            self._envelope,
            self._message,
            self._findings,
            tuple(self._edits),
            tuple(self.records),
        )
