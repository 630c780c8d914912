"""One plugin in the chain, with everything that keeps its failures from becoming ours."""

from asyncio import CancelledError, timeout
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import structlog

from filterrelay.chain.breaker import Breaker
from filterrelay.mail.edits import describe
from filterrelay.mail.outcome import StepRecord
from filterrelay.mail.reply import Reply
from filterrelay.mail.verdict import Defer, Discard, Pass, Quarantine, Reject, Verdict, name_of
from filterrelay.observe.clock import Clock
from filterrelay.observe.metrics import BREAKER_STATES, Metrics
from filterrelay.plugin.discovery import Plugin

CANT_CHECK = Reply(451, "4.7.1", "The message can't be checked now, please try again later")

OnError = Literal["defer", "accept", "quarantine"]
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Policy:
    """How a step treats its plugin. timeout: seconds. applies_to: listeners, empty for all."""

    timeout: float = 30.0
    on_error: OnError = "defer"
    shadow: bool = False
    applies_to: frozenset[str] = frozenset()


class Step:
    """One plugin instance: called within its time limit, its failure turned into a verdict."""

    def __init__(self, plugin: Plugin, policy: Policy, clock: Clock, metrics: Metrics) -> None:
        """Takes a checked plugin."""
        self.plugin = plugin
        self.policy = policy
        self._clock = clock
        self._seconds = {
            hook: metrics.plugin_seconds.labels(plugin.name, hook) for hook in plugin.hooks
        }
        self._mode = "shadow" if policy.shadow else "enforce"
        self._verdicts = metrics.plugin_verdicts
        self._state = metrics.breaker.labels(plugin.name)
        self._breaker = Breaker(clock, self._breaker_changed)

    @property
    def name(self) -> str:
        """The instance's name."""
        return self.plugin.name

    def handles(self, hook: str, listener: str) -> bool:
        """Whether the plugin has that hook and is meant for that listener."""
        applies_to = self.policy.applies_to
        return hook in self.plugin.hooks and (not applies_to or listener in applies_to)

    async def ask(self, hook: str, arguments: Mapping[str, Any]) -> tuple[Verdict, StepRecord]:
        """The plugin's verdict, or what its policy makes of a failure.

        In shadow mode the verdict is always to pass; the record tells the real one.
        """
        began = self._clock.monotonic()
        try:
            answer = await self.call(hook, arguments)
            verdict = self._checked(hook, answer)
        except _Unanswered as failure:
            return self._failed(hook, self._clock.monotonic() - began, failure)
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
            edits=tuple([describe(e) for e in verdict.edits]) if isinstance(verdict, Pass) else (),
            shadow=self.policy.shadow,
        )
        if not self.policy.shadow:
            return verdict, record
        if kind != "pass":
            log.info("shadow_verdict", plugin=self.name, hook=hook, verdict=kind, text=record.text)
        return Pass(), record

    async def collect(self, hook: str, arguments: Mapping[str, Any]) -> tuple[Any, StepRecord]:
        """What a hook returns that gives no verdict; None, with record.error, when it failed."""
        began = self._clock.monotonic()
        answer, kind, error = None, "pass", ""
        try:
            answer = await self.call(hook, arguments)
        except _Unanswered as failure:
            kind, error = failure.kind, failure.reason
        seconds = self._clock.monotonic() - began
        self._count(hook, seconds, kind)
        return answer, StepRecord(self.name, hook, seconds, kind, error=error)

    async def call(self, hook: str, arguments: Mapping[str, Any]) -> Any:
        """What the hook returns. Raises _Unanswered when it fails, is late or left alone."""
        if not self._breaker.allows():
            raise _Unanswered("skipped", "left alone after repeated failures")
        bound = self.plugin.hooks[hook]
        given = {name: arguments[name] for name in bound.parameters}
        try:
            async with timeout(self.policy.timeout):
                answer = await bound.call(**given)
        except TimeoutError:
            self._breaker.failed()
            raise _Unanswered("timeout", f"no answer in {self.policy.timeout:g} s") from None
        except CancelledError:
            self._breaker.abandoned()
            raise
        except Exception as error:  # the seam: a plugin may raise anything
            self._breaker.failed()
            log.exception("plugin_failed", plugin=self.name, hook=hook)
            raise _Unanswered("error", f"{type(error).__name__}: {error}") from error
        self._breaker.succeeded()
        return answer

    def _checked(self, hook: str, answer: Any) -> Verdict:
        """The answer as a verdict, if it may be given; anything else is the plugin's fault."""
        match answer:
            case None:
                return Pass()
            case Pass(_, edits):
                if edits and not self.plugin.edits:
                    raise self._fault(hook, "it edits but doesn't say `edits = True`")
                if edits and hook != "on_message":
                    raise self._fault(hook, "edits can only be made at on_message")
            case Reject(reply):
                if not reply.is_permanent:
                    raise self._fault(hook, f"Reject needs a 5xx reply, not {reply.code}")
            case Defer(reply):
                if not reply.is_temporary:
                    raise self._fault(hook, f"Defer needs a 4xx reply, not {reply.code}")
            case Quarantine() | Discard():
                pass
            case _:
                raise self._fault(hook, f"{type(answer).__name__} is no verdict")
        verdict: Verdict = answer
        return verdict

    def _fault(self, hook: str, reason: str) -> "_Unanswered":
        log.error("plugin_answer_wrong", plugin=self.name, hook=hook, reason=reason)
        return _Unanswered("error", reason)

    def _failed(
        self, hook: str, seconds: float, failure: "_Unanswered"
    ) -> tuple[Verdict, StepRecord]:
        self._count(hook, seconds, failure.kind)
        record = StepRecord(
            plugin=self.plugin.name,
            hook=hook,
            seconds=seconds,
            verdict=failure.kind,
            shadow=self.policy.shadow,
            error=failure.reason,
        )
        if self.policy.shadow:
            return Pass(), record
        log.warning(
            "plugin_unanswered",
            plugin=self.name,
            hook=hook,
            kind=failure.kind,
            reason=failure.reason,
            on_error=self.policy.on_error,
        )
        match self.policy.on_error:
            case "accept":
                return Pass(), record
            case "quarantine":
                return Quarantine(f"{self.name} could not check it: {failure.reason}"), record
            case "defer":
                return Defer(CANT_CHECK), record

    def _count(self, hook: str, seconds: float, verdict: str) -> None:
        self._seconds[hook].observe(seconds)
        self._verdicts.labels(self.plugin.name, self._mode, verdict).inc()

    def _breaker_changed(self, state: str) -> None:
        self._state.set(BREAKER_STATES[state])
        log.warning("plugin_breaker", plugin=self.name, state=state)


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
