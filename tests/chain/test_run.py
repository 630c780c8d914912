"""One message's way: who reads whose findings, and how a wave ends."""

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from filterrelay.chain import run
from filterrelay.chain.chain import Chain
from filterrelay.chain.loader import PluginSet
from filterrelay.chain.run import Judgement
from filterrelay.chain.step import Policy, Step
from filterrelay.mail.finding import Finding
from filterrelay.mail.message import Message
from filterrelay.mail.verdict import Pass
from filterrelay.plugin import hook
from filterrelay.plugin.testing import a_message, a_session, an_envelope

from .plugins import PASSES, REJECTS, Answers, Reads, Waits, answering, step

OTHER = Finding("other")


async def judged(*steps: Step, findings: Any = None) -> Judgement:
    """What a chain of these filters makes of a message."""
    chain = Chain(PluginSet(filters=steps), 10)
    return await chain.judge(a_session(), an_envelope(), a_message(), findings=findings or {})


async def test_a_plugin_reads_only_what_it_says_it_needs() -> None:
    """So the order in which plugins finish never changes what another sees."""
    reader = step(Reads, "reader")
    await judged(step(answering(PASSES), "first"), step(answering(Pass(OTHER)), "second"), reader)
    assert reader.plugin.instance.findings == {"first": PASSES.finding}


async def test_a_plugin_can_not_forge_anothers_finding() -> None:
    """What it is given to read can't be written."""
    reader = step(Reads, "reader")
    await judged(step(answering(PASSES), "first"), reader)
    with pytest.raises(TypeError):
        reader.plugin.instance.findings["first"] = OTHER


async def test_of_two_instances_the_first_in_the_file_is_read_and_both_are_kept() -> None:
    """A plugin may stand in the file twice, under two names."""
    reader = step(Reads, "reader")
    result = await judged(
        step(answering(None), "silent", use="first"),
        step(answering(PASSES), "strict", use="first"),
        step(answering(Pass(OTHER)), "lax", use="first"),
        reader,
    )
    assert reader.plugin.instance.findings == {"first": PASSES.finding}
    assert result.findings == {"strict": PASSES.finding, "lax": OTHER}


async def test_what_was_found_before_the_message_can_be_read_too() -> None:
    """A plugin's finding at on_sender serves those that need it."""
    reader = step(Reads, "reader")
    early = step(answering(None), "greeter", use="first")
    result = await judged(early, reader, findings={"greeter": OTHER})
    assert reader.plugin.instance.findings == {"first": OTHER}
    assert result.findings == {"greeter": OTHER}


async def test_what_a_plugin_on_trial_finds_is_read_by_nobody() -> None:
    """Its answer is only noted."""
    reader = step(Reads, "reader")
    await judged(step(answering(PASSES), "first", Policy(shadow=True)), reader)
    assert reader.plugin.instance.findings == {}


class Tidies(Waits):
    """Needs a moment to clean up when it is stopped."""

    @hook
    async def on_message(self, message: Message) -> None:
        self.started.set()
        try:
            await self.gate.wait()
        finally:
            await asyncio.sleep(0)
            self.cancelled = True


class Stays(Waits):
    """Doesn't stop when it is told to."""

    @hook
    async def on_message(self, message: Message) -> None:
        self.started.set()
        while not self.gate.is_set():
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                self.cancelled = True


class RejectsAfter(Answers):
    """Refuses once another plugin is at work."""

    started: asyncio.Event

    @hook
    async def on_message(self, message: Message) -> Any:
        await self.started.wait()
        return REJECTS


async def refused_beside(other: Step) -> Judgement:
    """What comes out when the first refuses while the other is at work."""
    first = step(RejectsAfter, "first")
    first.plugin.instance.started = other.plugin.instance.started
    return await judged(first, other)


async def test_a_plugin_that_is_stopped_has_cleaned_up_before_the_client_is_told() -> None:
    """Nothing of a message is under way when its session goes on."""
    tidy = step(Tidies, "tidy")
    assert (await refused_beside(tidy)).by == "first"
    assert tidy.plugin.instance.cancelled


async def test_a_plugin_that_won_t_stop_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reply is given after a moment, and the log names the plugin."""
    monkeypatch.setattr(run, "CLEANUP", 0.001)
    stubborn = step(Stays, "stubborn")
    with capture_logs() as logs:
        assert (await refused_beside(stubborn)).by == "first"
    assert stubborn.plugin.instance.cancelled
    assert (logs[-1]["event"], logs[-1]["plugin"]) == ("plugin_wont_stop", "stubborn")
    stubborn.plugin.instance.gate.set()
    await asyncio.sleep(0)


async def test_a_broken_edit_leaves_the_message_to_those_behind() -> None:
    """An editor's failure becomes its on_error, and the others see the mail as it was."""
    broken: Any = Pass(edits=("X: y",))  # type: ignore[arg-type]  # the fault
    editor = step(answering(broken, edits=True), "editor", Policy(on_error="accept"))
    after = step(answering(None), "after")
    result = await judged(editor, after)
    assert result.verdict == Pass()
    assert after.plugin.instance.seen == [result.message]
