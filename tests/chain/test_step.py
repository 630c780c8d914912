"""One plugin in the chain: its failures stay its own."""

from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from filterrelay.chain.breaker import FAILURES, PAUSE
from filterrelay.chain.step import CANT_CHECK, Policy
from filterrelay.mail.edits import AddHeader
from filterrelay.mail.reply import Reply
from filterrelay.mail.verdict import Defer, Pass, Quarantine, Reject
from filterrelay.observe.metrics import Metrics
from filterrelay.plugin.testing import FakeClock, a_message, a_session, an_envelope

from .plugins import PASSES, REFUSED, REJECTS, Waits, answering, step

ARGUMENTS: dict[str, Any] = {
    "session": a_session(),
    "envelope": an_envelope(),
    "message": a_message(),
    "findings": {},
}


def verdicts(metrics: Metrics, mode: str, verdict: str) -> float:
    """How often a step called `first` was counted with that."""
    value = metrics.registry.get_sample_value(
        "filterrelay_plugin_verdicts_total",
        {"plugin": "first", "mode": mode, "verdict": verdict},
    )
    return value or 0.0


@pytest.mark.parametrize("answer", [PASSES, REJECTS, Quarantine("odd")])
async def test_a_verdict_is_passed_on_as_it_is(answer: Any) -> None:
    """What an enforced plugin says, counts."""
    verdict, record = await step(answering(answer)).ask("on_message", ARGUMENTS)
    assert verdict == answer
    assert (record.plugin, record.finding) == ("first", answer.finding)


async def test_no_answer_means_pass() -> None:
    """A plugin that returns None has nothing against the message."""
    verdict, _ = await step(answering(None)).ask("on_message", ARGUMENTS)
    assert verdict == Pass()


async def test_shadow_mode_notes_the_verdict_and_lets_mail_pass() -> None:
    """A plugin in shadow mode refuses nothing; what it would have done is counted and traced."""
    metrics = Metrics(CollectorRegistry())
    shadowed = step(answering(REJECTS), policy=Policy(shadow=True), metrics=metrics)
    verdict, record = await shadowed.ask("on_message", ARGUMENTS)
    assert verdict == Pass()
    assert (record.verdict, record.shadow, record.text) == ("reject", True, str(REFUSED))
    assert verdicts(metrics, "shadow", "reject") == 1


@pytest.mark.parametrize(
    ("on_error", "expected"),
    [("defer", Defer(CANT_CHECK)), ("accept", Pass())],
)
async def test_a_failure_becomes_what_the_policy_says(on_error: Any, expected: Any) -> None:
    """A plugin that raises is our own fault: mail is deferred, or accepted where that is chosen."""
    failing = step(answering(RuntimeError("boom")), policy=Policy(on_error=on_error))
    verdict, record = await failing.ask("on_message", ARGUMENTS)
    assert verdict == expected
    assert (record.verdict, record.error) == ("error", "RuntimeError: boom")


async def test_a_failure_can_quarantine() -> None:
    """on_error = quarantine sets the message aside with the reason."""
    failing = step(answering(RuntimeError("boom")), policy=Policy(on_error="quarantine"))
    verdict, _ = await failing.ask("on_message", ARGUMENTS)
    assert isinstance(verdict, Quarantine)
    assert "boom" in verdict.reason


async def test_a_failure_in_shadow_mode_never_touches_mail() -> None:
    """A plugin on trial may fail as it likes."""
    failing = step(answering(RuntimeError("boom")), policy=Policy(shadow=True))
    assert (await failing.ask("on_message", ARGUMENTS))[0] == Pass()


async def test_a_late_plugin_is_cancelled() -> None:
    """A plugin beyond its time limit is stopped, and its policy decides."""
    late = step(Waits, policy=Policy(timeout=0.001))
    verdict, record = await late.ask("on_message", ARGUMENTS)
    assert verdict == Defer(CANT_CHECK)
    assert record.verdict == "timeout"
    assert late.plugin.instance.cancelled


@pytest.mark.parametrize(
    "answer",
    [
        "nonsense",
        Reject(Reply(450, "4.7.1", "Wrong class")),
        Defer(REFUSED),
        Pass(edits=(AddHeader("X", "y"),)),
    ],
)
async def test_an_answer_that_may_not_be_given_is_a_failure(answer: Any) -> None:
    """Reject is 5xx, Defer 4xx, and only editors edit; anything else is the plugin's fault."""
    verdict, record = await step(answering(answer)).ask("on_message", ARGUMENTS)
    assert verdict == Defer(CANT_CHECK)
    assert record.verdict == "error"


async def test_a_plugin_that_keeps_failing_is_left_alone_for_a_while() -> None:
    """After failures in a row it isn't called, so mail isn't held up by each time-out."""
    clock = FakeClock()
    failing = step(answering(RuntimeError("down")), clock=clock)
    for _ in range(FAILURES):
        await failing.ask("on_message", ARGUMENTS)
    _, record = await failing.ask("on_message", ARGUMENTS)
    assert record.verdict == "skipped"
    assert failing.plugin.instance.calls == FAILURES


async def test_a_plugin_left_alone_gets_one_trial_and_is_used_again_when_it_works() -> None:
    """Half-open lets one call through; its success closes the breaker."""
    clock = FakeClock()
    failing = step(answering(RuntimeError("down")), clock=clock)
    for _ in range(FAILURES):
        await failing.ask("on_message", ARGUMENTS)
    clock.advance(timedelta(seconds=PAUSE))
    type(failing.plugin.instance).answer = None
    for _ in range(2):
        _, record = await failing.ask("on_message", ARGUMENTS)
        assert record.verdict == "pass"


async def test_a_failed_trial_leaves_it_alone_again() -> None:
    """One failure in half-open is enough."""
    clock = FakeClock()
    failing = step(answering(RuntimeError("down")), clock=clock)
    for _ in range(FAILURES):
        await failing.ask("on_message", ARGUMENTS)
    clock.advance(timedelta(seconds=PAUSE))
    assert (await failing.ask("on_message", ARGUMENTS))[1].verdict == "error"
    assert (await failing.ask("on_message", ARGUMENTS))[1].verdict == "skipped"
