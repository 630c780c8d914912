"""One plugin in the chain, with everything that keeps its failures from becoming ours."""

from asyncio import CancelledError, current_task, timeout
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeVar

import structlog

from filterrelay.chain.answers import WrongAnswer, as_verdict
from filterrelay.chain.begun import Begun
from filterrelay.chain.breaker import Breaker
from filterrelay.mail.edits import describe, edit_envelope, edit_message
from filterrelay.mail.envelope import Envelope
from filterrelay.mail.message import Message
from filterrelay.mail.outcome import StepRecord
from filterrelay.mail.reply import Reply
from filterrelay.mail.verdict import Defer, Discard, Pass, Quarantine, Reject, Verdict, name_of
from filterrelay.observe.clock import Clock
from filterrelay.observe.metrics import BREAKER_STATES, FAILURES, STEP_RESULTS, Metrics
from filterrelay.plugin.discovery import Plugin

CANT_CHECK = Reply(451, "4.7.1", "The message can't be checked now, please try again later")

OnError = Literal["defer", "accept", "quarantine"]
T = TypeVar("T")
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Policy:
    """How a step treats its plugin. timeout: seconds. applies_to: listeners, empty for all."""

    timeout: float = 30.0
    on_error: OnError = "defer"
    shadow: bool = False
    applies_to: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a step says.

    verdict: the one that counts, in shadow mode always to pass; the record tells
    the real one. edited: message and envelope with its edits, None without any.
    """

    verdict: Verdict
    record: StepRecord
    edited: tuple[Message, Envelope] | None = None


class Step:
    """One plugin instance: called within its time limit, its failure turned into a verdict."""

    def __init__(self, plugin: Plugin, policy: Policy, clock: Clock, metrics: Metrics) -> None:
        """Takes a checked plugin."""
        self.plugin = plugin
        self.policy = policy
        self._clock = clock
        asked = [hook for hook in plugin.hooks if hook != "lifespan"]
        self._seconds = {hook: metrics.plugin_seconds.labels(plugin.name, hook) for hook in asked}
        self._mode = "shadow" if policy.shadow else "enforce"
        self._verdicts = {
            result: metrics.plugin_verdicts.labels(plugin.name, self._mode, result)
            for result in STEP_RESULTS
        }
        decides = "pass" if policy.on_error == "accept" else policy.on_error
        self._failures = {
            kind: metrics.plugin_failures.labels(plugin.name, self._mode, kind, decides)
            for kind in FAILURES
        }
        self._state = metrics.breaker.labels(plugin.name)
        # One a hook: what an observer's daemon does says nothing of the one that judges mail.
        self._breakers = {
            hook: Breaker(clock, partial(self._breaker_changed, hook)) for hook in asked
        }

    @property
    def name(self) -> str:
        """The instance's name."""
        return self.plugin.name

    def handles(self, hook: str, listener: str) -> bool:
        """Whether the plugin has that hook and is meant for that listener."""
        applies_to = self.policy.applies_to
        return hook in self.plugin.hooks and (not applies_to or listener in applies_to)

    def meets(self, need: str) -> bool:
        """Whether its findings are those meant by a word in another's `needs`."""
        return need in (self.plugin.use, self.plugin.name)

    async def ask(self, hook: str, arguments: Mapping[str, Any]) -> Answer:
        """The plugin's verdict, or what its policy makes of a failure."""
        began = self._clock.monotonic()
        try:
            verdict, edits, edited = await self._answer(
                hook, arguments, partial(self._judged, hook, arguments)
            )
        except _Unanswered as failure:
            return self._failed(hook, began, failure)
        seconds = self._clock.monotonic() - began
        kind = name_of(verdict)
        self._count(hook, seconds, kind)
        record = StepRecord(
            plugin=self.plugin.name,
            hook=hook,
            seconds=seconds,
            verdict=kind,
            text=_text(verdict),
            finding=verdict.finding,
            edits=edits,
            shadow=self.policy.shadow,
            began=began,
        )
        if not self.policy.shadow:
            return Answer(verdict, record, edited)
        if kind != "pass":
            log.info(
                "shadow_verdict", plugin=self.name, hook=hook, verdict=kind, reason=record.text
            )
        return Answer(Pass(), record)

    async def collect(
        self, hook: str, arguments: Mapping[str, Any], checked: Callable[[Any], T]
    ) -> tuple[T | None, StepRecord]:
        """What a hook returns that gives no verdict; None, with record.error, when it failed.

        checked: makes of the plugin's answer what is wanted; what it raises is
        the plugin's fault.
        """
        began = self._clock.monotonic()
        answer, kind, error = None, "pass", ""
        try:
            answer = await self._answer(hook, arguments, checked)
        except _Unanswered as failure:
            kind, error = failure.kind, failure.reason
            if kind != "skipped":  # the breaker has told already
                log.warning(
                    "plugin_unanswered", plugin=self.name, hook=hook, failure=kind, reason=error
                )
        seconds = self._clock.monotonic() - began
        self._count(hook, seconds, kind)
        return answer, StepRecord(
            self.name, hook, seconds, kind, shadow=self.policy.shadow, error=error, began=began
        )

    async def _answer(
        self, hook: str, arguments: Mapping[str, Any], checked: Callable[[Any], T]
    ) -> T:
        """What the hook returns, checked. Raises _Unanswered."""
        answer = await self._call(hook, arguments)
        try:
            return checked(answer)
        except WrongAnswer as wrong:
            reason = str(wrong)
        except Exception as error:  # noqa: BLE001  # the seam: what can't be carried out is no answer
            reason = f"{type(error).__name__}: {error}"
        log.error("plugin_answer_wrong", plugin=self.name, hook=hook, reason=reason)
        raise _Unanswered("error", reason)

    async def _call(self, hook: str, arguments: Mapping[str, Any]) -> Any:
        """What the hook returns. Raises _Unanswered when it fails, is late or left alone."""
        breaker = self._breakers[hook]
        if not breaker.allows():
            raise _Unanswered("skipped", "left alone after repeated failures")
        bound = self.plugin.hooks[hook]
        given = {name: arguments[name] for name in bound.parameters}
        task, before, limit = None, 0, None
        try:
            begun = Begun(bound.call(**given))
            # Up to its first wait the loop stands still: no time limit could end the call, and
            # nobody else can have stopped us. So the limit counts from there.
            if begun.waits:
                task = current_task()
                assert task is not None
                before, limit = task.cancelling(), timeout(self.policy.timeout)
                async with limit:
                    await begun
        except (Exception, CancelledError) as error:  # the seam: a plugin may raise anything
            if task is None or task.cancelling() == before:
                breaker.failed()
                if limit is not None and limit.expired():
                    raise _Unanswered(
                        "timeout", f"no answer in {self.policy.timeout:g} s"
                    ) from None
                log.exception("plugin_failed", plugin=self.name, hook=hook)
                raise _Unanswered("error", f"{type(error).__name__}: {error}") from None
        else:
            if task is None or task.cancelling() == before:
                breaker.succeeded()
                return begun.answer
        breaker.abandoned()
        raise CancelledError  # we are stopped, whatever the plugin made of it

    def _judged(
        self, hook: str, arguments: Mapping[str, Any], answer: Any
    ) -> tuple[Verdict, tuple[str, ...], tuple[Message, Envelope] | None]:
        """The verdict, its edits in words, and what comes out of them. Raises WrongAnswer."""
        verdict = as_verdict(answer)
        if not (isinstance(verdict, Pass) and verdict.edits):
            return verdict, (), None
        if not self.plugin.edits:
            raise WrongAnswer("it edits but doesn't say `edits = True`")
        if hook != "on_message":
            raise WrongAnswer("edits can only be made at on_message")
        edited = (
            edit_message(arguments["message"], verdict.edits),
            edit_envelope(arguments["envelope"], verdict.edits),
        )
        return verdict, tuple([describe(edit) for edit in verdict.edits]), edited

    def _failed(self, hook: str, began: float, failure: "_Unanswered") -> Answer:
        """What the policy makes of it; in shadow mode that is only noted."""
        seconds = self._clock.monotonic() - began
        verdict = self._on_error(failure)
        kind = name_of(verdict)
        self._count(hook, seconds, failure.kind)
        self._failures[failure.kind].inc()
        log.warning(
            "plugin_unanswered",
            plugin=self.name,
            hook=hook,
            failure=failure.kind,
            reason=failure.reason,
            mode=self._mode,
            verdict=kind,
        )
        record = StepRecord(
            plugin=self.plugin.name,
            hook=hook,
            seconds=seconds,
            verdict=failure.kind,
            text=_text(verdict),
            shadow=self.policy.shadow,
            error=failure.reason,
            began=began,
        )
        return Answer(Pass() if self.policy.shadow else verdict, record)

    def _on_error(self, failure: "_Unanswered") -> Verdict:
        match self.policy.on_error:
            case "accept":
                return Pass()
            case "quarantine":
                return Quarantine(f"{self.name} could not check it: {failure.reason}")
            case "defer":
                return Defer(CANT_CHECK)

    def _count(self, hook: str, seconds: float, verdict: str) -> None:
        self._seconds[hook].observe(seconds)
        self._verdicts[verdict].inc()

    def _breaker_changed(self, hook: str, state: str) -> None:
        self._state.set(max(BREAKER_STATES[each.state] for each in self._breakers.values()))
        log.warning("plugin_breaker", plugin=self.name, hook=hook, state=state)


class _Unanswered(Exception):
    """A call without a usable answer. kind: `error`, `timeout` or `skipped`."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(kind, reason)
        self.kind = kind
        self.reason = reason


def _text(verdict: Verdict) -> str:
    match verdict:
        case Reject(reply) | Defer(reply):
            return str(reply)
        case Quarantine(reason) | Discard(reason):
            return reason
        case Pass(finding):
            return finding.text if finding else ""
