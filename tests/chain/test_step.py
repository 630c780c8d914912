"""One plugin in the chain: its failures stay its own."""

import asyncio
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from filterrelay.chain.answers import as_nothing
from filterrelay.chain.breaker import FAILURES, PAUSE
from filterrelay.chain.step import CANT_CHECK, Policy
from filterrelay.mail.edits import AddHeader
from filterrelay.mail.finding import AuthResult, Finding
from filterrelay.mail.message import Message
from filterrelay.mail.reply import Reply
from filterrelay.mail.verdict import Defer, Pass, Quarantine, Reject
from filterrelay.observe.metrics import BREAKER_STATES, Metrics
from filterrelay.plugin import hook
from filterrelay.plugin.testing import FakeClock, a_message, a_session, an_envelope

from .plugins import PASSES, REFUSED, REJECTS, Answers, Waits, answering, step

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
    said = await step(answering(answer)).ask("on_message", ARGUMENTS)
    assert said.verdict == answer
    assert (said.record.plugin, said.record.finding) == ("first", answer.finding)


async def test_no_answer_means_pass() -> None:
    """A plugin that returns None has nothing against the message."""
    assert (await step(answering(None)).ask("on_message", ARGUMENTS)).verdict == Pass()


async def test_shadow_mode_notes_the_verdict_and_lets_mail_pass() -> None:
    """A plugin in shadow mode refuses nothing; what it would have done is counted and traced."""
    metrics = Metrics(CollectorRegistry())
    shadowed = step(answering(REJECTS), policy=Policy(shadow=True), metrics=metrics)
    said = await shadowed.ask("on_message", ARGUMENTS)
    record = said.record
    assert said.verdict == Pass()
    assert (record.verdict, record.shadow, record.text) == ("reject", True, str(REFUSED))
    assert verdicts(metrics, "shadow", "reject") == 1


@pytest.mark.parametrize(
    ("on_error", "expected"),
    [("defer", Defer(CANT_CHECK)), ("accept", Pass())],
)
async def test_a_failure_becomes_what_the_policy_says(on_error: Any, expected: Any) -> None:
    """A plugin that raises is our own fault: mail is deferred, or accepted where that is chosen."""
    failing = step(answering(RuntimeError("boom")), policy=Policy(on_error=on_error))
    said = await failing.ask("on_message", ARGUMENTS)
    assert said.verdict == expected
    assert (said.record.verdict, said.record.error) == ("error", "RuntimeError: boom")


async def test_a_failure_can_quarantine() -> None:
    """on_error = quarantine sets the message aside with the reason."""
    failing = step(answering(RuntimeError("boom")), policy=Policy(on_error="quarantine"))
    verdict = (await failing.ask("on_message", ARGUMENTS)).verdict
    assert isinstance(verdict, Quarantine)
    assert "boom" in verdict.reason


async def test_a_failure_in_shadow_mode_never_touches_mail() -> None:
    """A plugin on trial may fail as it likes."""
    failing = step(answering(RuntimeError("boom")), policy=Policy(shadow=True))
    assert (await failing.ask("on_message", ARGUMENTS)).verdict == Pass()


async def test_a_late_plugin_is_cancelled() -> None:
    """A plugin beyond its time limit is stopped, and its policy decides."""
    late = step(Waits, policy=Policy(timeout=0.001))
    said = await late.ask("on_message", ARGUMENTS)
    assert said.verdict == Defer(CANT_CHECK)
    assert said.record.verdict == "timeout"
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
    said = await step(answering(answer)).ask("on_message", ARGUMENTS)
    assert said.verdict == Defer(CANT_CHECK)
    assert said.record.verdict == "error"


async def test_a_plugin_that_keeps_failing_is_left_alone_for_a_while() -> None:
    """After failures in a row it isn't called, so mail isn't held up by each time-out."""
    clock = FakeClock()
    failing = step(answering(RuntimeError("down")), clock=clock)
    for _ in range(FAILURES):
        await failing.ask("on_message", ARGUMENTS)
    assert (await failing.ask("on_message", ARGUMENTS)).record.verdict == "skipped"
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
        assert (await failing.ask("on_message", ARGUMENTS)).record.verdict == "pass"


async def test_a_failed_trial_leaves_it_alone_again() -> None:
    """One failure in half-open is enough."""
    clock = FakeClock()
    failing = step(answering(RuntimeError("down")), clock=clock)
    for _ in range(FAILURES):
        await failing.ask("on_message", ARGUMENTS)
    clock.advance(timedelta(seconds=PAUSE))
    assert (await failing.ask("on_message", ARGUMENTS)).record.verdict == "error"
    assert (await failing.ask("on_message", ARGUMENTS)).record.verdict == "skipped"


WRONG_ANSWERS = [
    Pass(edits="X: y"),  # type: ignore[arg-type]  # the fault
    Pass(edits=("X: y",)),  # type: ignore[arg-type]  # the fault
    Pass(edits=None),  # type: ignore[arg-type]  # the fault
    Pass("spf=pass"),  # type: ignore[arg-type]  # the fault
    Pass(Finding("spam", score="5")),  # type: ignore[arg-type]  # the fault
    Pass(Finding("spam", details=("rule",))),  # type: ignore[arg-type]  # the fault
    Pass(Finding("pass", auth=(AuthResult("spf", "pass", properties=(("ip", 1),)),))),  # type: ignore[arg-type]  # the fault
    Reject("550 No"),  # type: ignore[arg-type]  # the fault
    Reject(Reply(550, "5.7.1", None)),  # type: ignore[arg-type]  # the fault
    Quarantine(None),  # type: ignore[arg-type]  # the fault
]


@pytest.mark.parametrize("shadow", [False, True])
@pytest.mark.parametrize("answer", WRONG_ANSWERS, ids=repr)
async def test_a_wrong_value_in_an_answer_ends_at_the_plugin(answer: Any, shadow: bool) -> None:
    """What a plugin gets wrong becomes its on_error; in shadow mode it touches no mail."""
    said = await step(answering(answer, edits=True), policy=Policy(shadow=shadow)).ask(
        "on_message", ARGUMENTS
    )
    assert said.verdict == (Pass() if shadow else Defer(CANT_CHECK))
    assert said.record.verdict == "error"


async def test_edits_that_can_not_be_made_are_the_plugins_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A header that nobody can write defers mail as any other failure of that plugin does."""

    def edit_message(*_: Any) -> None:
        raise ValueError("no header's value")

    monkeypatch.setattr("filterrelay.chain.step.edit_message", edit_message)
    edit = Pass(edits=(AddHeader("X-Score", "5"),))
    said = await step(answering(edit, edits=True)).ask("on_message", ARGUMENTS)
    assert said.verdict == Defer(CANT_CHECK)
    assert said.record.error == "ValueError: no header's value"


async def test_an_editors_answer_brings_the_message_as_it_edited_it() -> None:
    """Edits are made once, where their failure is the plugin's."""
    said = await step(answering(Pass(edits=(AddHeader("X-Seen", "yes"),)), edits=True)).ask(
        "on_message", ARGUMENTS
    )
    assert said.edited is not None
    assert said.edited[0].get("x-seen") == "yes"
    assert said.record.edits == ("add header X-Seen: yes",)


async def test_a_plugin_whose_own_task_was_cancelled_has_failed() -> None:
    """It ends no session: the client gets the reply that on_error gives."""
    said = await step(answering(asyncio.CancelledError())).ask("on_message", ARGUMENTS)
    assert said.verdict == Defer(CANT_CHECK)
    assert said.record.error.startswith("CancelledError")


async def test_a_session_that_ends_stops_the_plugin_it_waits_for() -> None:
    """A cancellation from outside is none of the plugin's failures."""
    waiting = step(Waits)
    asking = asyncio.create_task(waiting.ask("on_message", ARGUMENTS))
    await waiting.plugin.instance.started.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


class Hides(Waits):
    """Makes something else of being cancelled."""

    @hook
    async def on_message(self, message: Message) -> None:
        try:
            await super().on_message(message)
        except asyncio.CancelledError:
            raise RuntimeError("interrupted") from None


async def test_a_plugin_can_not_hide_that_it_was_stopped() -> None:
    """The chain's time limit holds also for who turns cancellation into another error."""
    hiding = step(Hides)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await hiding.ask("on_message", ARGUMENTS)


async def test_a_plugins_own_time_out_is_told_as_its_own() -> None:
    """A daemon that didn't answer within 2 s isn't called a plugin that took 30."""
    failing = step(answering(TimeoutError("clamd: no answer in 2 s")))
    with capture_logs() as logs:
        record = (await failing.ask("on_message", ARGUMENTS)).record
    assert (record.verdict, record.error) == ("error", "TimeoutError: clamd: no answer in 2 s")
    assert [line["event"] for line in logs] == ["plugin_failed", "plugin_unanswered"]


class Told(Answers):
    """Is told of outcomes, and does then what `telling` says."""

    telling: ClassVar[Any] = None

    @hook
    async def on_outcome(self) -> None:
        if self.telling is None:
            await asyncio.sleep(60)
        raise self.telling


async def test_an_observer_that_is_late_is_logged() -> None:
    """Nobody waits for it, so the log is the only place to find it."""
    with capture_logs() as logs:
        answer, record = await step(Told, policy=Policy(timeout=0.001)).collect(
            "on_outcome", {}, as_nothing
        )
    assert (answer, record.verdict) == (None, "timeout")
    assert [(line["event"], line["failure"]) for line in logs] == [("plugin_unanswered", "timeout")]


async def test_what_a_failing_plugin_in_shadow_mode_would_have_done_is_told() -> None:
    """Logged, traced and counted: whoever tries a plugin learns what its failures would cost."""
    metrics = Metrics(CollectorRegistry())
    failing = step(
        answering(RuntimeError("boom")),
        policy=Policy(shadow=True, on_error="quarantine"),
        metrics=metrics,
    )
    with capture_logs() as logs:
        said = await failing.ask("on_message", ARGUMENTS)
    assert said.verdict == Pass()
    assert "boom" in said.record.text
    assert (logs[-1]["mode"], logs[-1]["verdict"]) == ("shadow", "quarantine")
    labels = {"plugin": "first", "mode": "shadow", "failure": "error", "verdict": "quarantine"}
    counted = metrics.registry.get_sample_value("filterrelay_plugin_failures_total", labels)
    assert counted == 1


@pytest.mark.parametrize(
    ("on_error", "verdict"), [("accept", "pass"), ("defer", "defer"), ("quarantine", "quarantine")]
)
def test_failures_begin_at_nothing(on_error: Any, verdict: str) -> None:
    """So that the first one is an increase, for whoever is to be woken by it."""
    metrics = Metrics(CollectorRegistry())
    step(answering(None), policy=Policy(on_error=on_error), metrics=metrics)
    for failure in ("error", "timeout", "skipped"):
        labels = {"plugin": "first", "mode": "enforce", "failure": failure, "verdict": verdict}
        value = metrics.registry.get_sample_value("filterrelay_plugin_failures_total", labels)
        assert value == 0


def breaker_state(metrics: Metrics) -> float | None:
    """What the dashboards see of the breakers of a plugin called `first`."""
    return metrics.registry.get_sample_value(
        "filterrelay_plugin_breaker_state", {"plugin": "first"}
    )


async def test_an_observers_failures_don_t_stop_the_plugin_from_judging() -> None:
    """Each hook has a breaker of its own; the metric shows the worst."""
    metrics = Metrics(CollectorRegistry())
    both = step(answering(None, Told, telling=RuntimeError("log host down")), metrics=metrics)
    for _ in range(FAILURES):
        await both.collect("on_outcome", {}, as_nothing)
    assert (await both.ask("on_message", ARGUMENTS)).record.verdict == "pass"
    assert breaker_state(metrics) == BREAKER_STATES["open"]


async def test_another_hooks_success_does_not_hide_failures() -> None:
    """A greeting that always works resets nothing that is counted against the scanner."""

    class Greets(answering(RuntimeError("down"))):  # type: ignore[misc]  # made on the fly
        """Works at on_connect only."""

        @hook
        async def on_connect(self) -> None: ...

    failing = step(Greets)
    for _ in range(FAILURES):
        await failing.ask("on_connect", ARGUMENTS)
        await failing.ask("on_message", ARGUMENTS)
    assert (await failing.ask("on_message", ARGUMENTS)).record.verdict == "skipped"
