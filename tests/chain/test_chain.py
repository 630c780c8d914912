"""The chain: waves, order, edits, limits."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from filterrelay.chain.chain import Chain, NotAnswered
from filterrelay.chain.loader import PluginSet
from filterrelay.chain.run import Judgement
from filterrelay.chain.step import CANT_CHECK, Policy, Step
from filterrelay.mail.edits import AddHeader, RemoveRecipient, ReplaceBody
from filterrelay.mail.outcome import Outcome, Route
from filterrelay.mail.reply import Reply
from filterrelay.mail.session import Credentials, Identity
from filterrelay.mail.verdict import Defer, Pass, Quarantine, Reject
from filterrelay.plugin import hook
from filterrelay.plugin.testing import (
    FakeClock,
    a_message,
    a_session,
    an_envelope,
    some_services,
)

from .plugins import PASSES, REFUSED, REJECTS, Answers, Lives, Reads, Waits, answering, step

SESSION, ENVELOPE, MESSAGE = a_session(), an_envelope(), a_message()


async def judged(*steps: Step, timeout: float = 10, without: Any = ()) -> Judgement:
    """What a chain of these filters makes of a message."""
    chain = Chain(PluginSet(filters=steps), timeout)
    return await chain.judge(SESSION, ENVELOPE, MESSAGE, without=without)


async def test_an_empty_chain_lets_mail_pass() -> None:
    """Without filters nothing is refused and nothing changed."""
    result = await judged()
    assert (result.verdict, result.by, result.message) == (Pass(), "", MESSAGE)


async def test_the_first_refusal_in_file_order_wins() -> None:
    """Two that refuse at once give the same answer every time: the first one's."""
    slow = step(answering(REJECTS, Waits), "slow")
    quick = step(answering(Quarantine("odd")), "quick")
    running = asyncio.create_task(judged(slow, quick))
    await slow.plugin.instance.started.wait()
    slow.plugin.instance.gate.set()
    result = await running
    assert (result.verdict, result.by) == (REJECTS, "slow")


async def test_checks_that_need_nothing_of_each_other_run_at_once() -> None:
    """A message waits for its slowest scanner, not for the sum."""
    first, second = step(Waits, "first"), step(Waits, "second")
    running = asyncio.create_task(judged(first, second))
    async with asyncio.timeout(5):
        await first.plugin.instance.started.wait()
        await second.plugin.instance.started.wait()
    first.plugin.instance.gate.set()
    second.plugin.instance.gate.set()
    assert (await running).verdict == Pass()


async def test_a_refusal_stops_those_that_come_later() -> None:
    """Nobody scans on once the answer is known."""
    first, second = step(answering(REJECTS), "first"), step(Waits, "second")
    third = step(answering(None, needs=("second",)), "third")
    assert (await judged(first, second, third)).by == "first"
    assert second.plugin.instance.cancelled or not second.plugin.instance.started.is_set()
    assert third.plugin.instance.calls == 0


async def test_a_plugin_reads_the_findings_that_it_needs() -> None:
    """A later wave sees what an earlier one found."""
    reader = step(Reads, "reader")
    await judged(step(answering(PASSES), "first"), reader)
    assert reader.plugin.instance.findings == {"first": PASSES.finding}


async def test_later_plugins_see_the_edited_message() -> None:
    """An editor's header is there for those behind it, and in the result."""
    edit = AddHeader("X-Seen", "yes")
    editor = step(answering(Pass(edits=(edit,)), edits=True), "editor")
    after = step(answering(None), "after")
    result = await judged(editor, after)
    assert after.plugin.instance.seen[0].get("x-seen") == "yes"
    assert result.edits == (edit,)
    assert result.message.raw == b"X-Seen: yes\r\n" + MESSAGE.raw


async def test_editors_change_the_envelope_too() -> None:
    """A dropped recipient is dropped."""
    drop = RemoveRecipient(ENVELOPE.recipients[0].address)
    result = await judged(step(answering(Pass(edits=(drop,)), edits=True)))
    assert result.envelope.recipients == ()


async def test_shadowed_edits_change_nothing() -> None:
    """An editor on trial leaves the message as it was."""
    edit = Pass(edits=(AddHeader("X-Seen", "yes"),))
    result = await judged(step(answering(edit, edits=True), policy=Policy(shadow=True)))
    assert result.message is MESSAGE
    assert result.steps[0].edits == ("add header X-Seen: yes",)


async def test_the_whole_chain_has_a_budget() -> None:
    """A message is deferred when all filters together take too long; the trace says for whom."""
    slow, slower = step(Waits, "slow"), step(Waits, "slower")
    with capture_logs() as logs:
        result = await judged(step(answering(None), "quick"), slow, slower, timeout=0.01)
    assert result.verdict == Defer(CANT_CHECK)
    assert result.steps[-1].verdict == "timeout"
    assert result.steps[-1].error.endswith("waiting for slow, slower")
    assert logs[-1]["waits_for"] == "slow, slower"


class Greets(Answers):
    """Answers at on_connect; without an answer it waits for ever."""

    @hook
    async def on_connect(self) -> Any:
        return self.answer or await asyncio.Event().wait()


async def test_a_command_has_the_same_budget() -> None:
    """A client hears 451 before it gives up on us."""
    chain = Chain(PluginSet(filters=(step(Greets, "greeter"),)), 0.001)
    verdict, _, records = await chain.early("on_connect", SESSION)
    assert verdict == Defer(CANT_CHECK)
    assert records[-1].error.endswith("waiting for greeter")


async def test_a_plugin_can_be_left_out() -> None:
    """A released message isn't caught again by the plugin that was overruled."""
    result = await judged(step(answering(REJECTS), "catcher"), without=("catcher",))
    assert result.verdict == Pass()


async def test_a_filter_works_for_its_listeners_only() -> None:
    """applies_to keeps a filter from mail that came elsewhere."""
    elsewhere = Policy(applies_to=frozenset({"submission"}))
    result = await judged(step(answering(REJECTS), policy=elsewhere))
    assert result.verdict == Pass()


async def test_every_step_is_recorded() -> None:
    """The trace shows who said what, in file order."""
    result = await judged(step(answering(PASSES), "a"), step(answering(REJECTS), "b"))
    assert [(r.plugin, r.verdict) for r in result.steps] == [("a", "pass"), ("b", "reject")]


async def test_lifespans_open_and_close_around_the_work(tmp_path: Path) -> None:
    """A plugin opens what it holds at start and closes it at stop."""
    Lives.log.clear()
    chain = Chain(PluginSet(filters=(step(Lives),)), 10)
    async with chain.running(lambda s: some_services(s.name, state_dir=tmp_path)):
        assert Lives.log == ["begin relay.office.example"]
    assert Lives.log[-1] == "end"


async def test_plugins_judge_before_there_is_a_message() -> None:
    """on_connect refuses a client, and only plugins that have the hook are asked."""
    chain = Chain(
        PluginSet(
            filters=(step(Answers, "deaf"), step(answering(Reject(REFUSED), Greets), "greeter"))
        ),
        10,
    )
    verdict, by, records = await chain.early("on_connect", SESSION)
    assert (verdict, by) == (Reject(REFUSED), "greeter")
    assert [record.plugin for record in records] == ["greeter"]
    assert not chain.has_early("on_helo", "smtp")


class Signs(Answers):
    """Signs with a header, or fails when told to."""

    @hook
    async def sign(self, message: Any) -> Any:
        if self.answer:
            raise self.answer
        return (AddHeader("X-Signed", str(len(message))),)


async def test_signers_sign_one_after_the_other() -> None:
    """Each signer sees the signature of the one before."""
    chain = Chain(PluginSet(signers=(step(Signs, "a"), step(Signs, "b"))), 10)
    signed, edits, _ = await chain.sign(SESSION, ENVELOPE, MESSAGE)
    assert len(edits) == 2
    assert signed.headers[0].value == str(len(MESSAGE) + len(signed.headers[1].raw))


class Rewrites(Answers):
    """Calls itself a signer and changes the body."""

    @hook
    async def sign(self) -> Any:
        return (ReplaceBody(b"Other.\r\n"),)


async def test_a_signer_may_not_change_what_was_signed() -> None:
    """A body replaced behind a signature would break it, so mail waits for a better plugin."""
    chain = Chain(PluginSet(signers=(step(Signs, "a"), step(Rewrites, "b"))), 10)
    with pytest.raises(NotAnswered, match="plugin b gave no answer") as failure:
        await chain.sign(SESSION, ENVELOPE, MESSAGE)
    assert [(r.plugin, r.verdict) for r in failure.value.steps] == [("a", "pass"), ("b", "error")]


async def test_a_signer_that_fails_is_no_reason_to_send_unsigned() -> None:
    """Mail isn't accepted when it can't be signed."""
    chain = Chain(PluginSet(signers=(step(answering(OSError("key"), Signs), "a"),)), 10)
    with pytest.raises(NotAnswered):
        await chain.sign(SESSION, ENVELOPE, MESSAGE)


class Knows(Answers):
    """Knows one user, or fails when told to."""

    @hook
    async def authenticate(self, credentials: Credentials) -> Identity | None:
        if isinstance(self.answer, Exception):
            raise self.answer
        return Identity(credentials.login) if credentials.login == self.answer else None


@pytest.mark.parametrize(("login", "known"), [("a", True), ("b", True), ("c", False)])
async def test_the_first_plugin_that_knows_a_login_vouches_for_it(login: str, known: bool) -> None:
    """Several sources of users are asked in order."""
    sources = (step(answering("a", Knows), "x"), step(answering("b", Knows), "y"))
    identity = await Chain(PluginSet(authenticators=sources), 10).authenticate(
        SESSION, Credentials("PLAIN", login, "secret")
    )
    assert (identity is not None) is known


async def test_a_login_that_nobody_could_check_is_not_called_wrong() -> None:
    """When a source of users is down, the client hears of a temporary problem."""
    sources = (step(answering(OSError("down"), Knows), "x"), step(answering("b", Knows), "y"))
    chain = Chain(PluginSet(authenticators=sources), 10)
    with pytest.raises(NotAnswered):
        await chain.authenticate(SESSION, Credentials("PLAIN", "c", "secret"))
    assert await chain.authenticate(SESSION, Credentials("PLAIN", "b", "secret"))


class Follows(Knows):
    """Knows somebody for as long as it is told to."""

    @hook
    async def reconfirm(self, identity: Identity) -> Identity | None:
        if isinstance(self.answer, Exception):
            raise self.answer
        return replace(identity, senders=("x@office.example",)) if self.answer else None


async def test_who_vouched_for_a_login_is_asked_about_it_again() -> None:
    """Nobody else, though others know the same name; and who can't say stays with its word."""
    first, second = answering("b", Follows), answering("b", Follows)
    first.answer = "another"
    steps = (step(first, "x"), step(second, "y"), step(answering("c", Knows), "z"))
    chain = Chain(PluginSet(authenticators=steps), 10)
    identity = await chain.authenticate(SESSION, Credentials("PLAIN", "b", "secret"))
    assert identity == Identity("b", source="y")
    first.answer = None
    assert await chain.reconfirm(identity) == Identity("b", ("x@office.example",), "y")
    second.answer = OSError("down")
    with pytest.raises(NotAnswered):
        await chain.reconfirm(identity)
    second.answer = None
    assert await chain.reconfirm(identity) is None
    for other in (Identity("c", source="z"), Identity("d", source="XCLIENT")):
        assert await chain.reconfirm(other) is other


class Vouches(Answers):
    """Says yes where it should say who."""

    @hook
    async def authenticate(self) -> Any:
        return True


async def test_an_authenticators_wrong_answer_is_no_wrong_password() -> None:
    """Nobody is locked out because a plugin has a bug."""
    chain = Chain(PluginSet(authenticators=(step(Vouches, "directory"),)), 10)
    with pytest.raises(NotAnswered, match="bool is no Identity"):
        await chain.authenticate(SESSION, Credentials("PLAIN", "a", "b"))


class Routes(Answers):
    """Routes everything to one upstream, or gives what it was told to."""

    @hook
    async def route(self) -> Any:
        return self.answer or Route("partner", "because")


async def routed(*steps: Step, listener: str = "smtp") -> Route | None:
    """Where a chain of these sends the recipient."""
    chain = Chain(PluginSet(filters=steps), 10)
    return await chain.route(ENVELOPE, ENVELOPE.recipients[0], listener)


async def test_a_router_in_shadow_mode_is_only_noted() -> None:
    """Mail goes where the file says; the log says where it would have gone."""
    with capture_logs() as logs:
        assert await routed(step(Routes, policy=Policy(shadow=True))) is None
    assert logs[-1]["event"] == "shadow_route"
    assert logs[-1]["upstream"] == "partner"


async def test_a_router_works_for_its_listeners_only() -> None:
    """applies_to holds where mail is sent, too."""
    router = step(Routes, policy=Policy(applies_to=frozenset({"submission"})))
    assert await routed(router, listener="smtp") is None
    assert await routed(router, listener="submission") == Route("partner", "because")


async def test_a_router_that_answers_nonsense_is_passed_over() -> None:
    """The next one is asked."""
    assert await routed(step(answering("partner", Routes)), step(Routes, "next")) is not None


class Told(Answers):
    """Counts the outcomes that it is told of."""

    @hook
    async def on_outcome(self) -> None:
        self.calls += 1


async def test_an_observer_is_told_of_its_listeners_only() -> None:
    """A filter with applies_to hears nothing of other mail."""
    everywhere = step(Told, "everywhere")
    elsewhere = step(Told, "elsewhere", Policy(applies_to=frozenset({"submission"})))
    outcome = Outcome(
        "ID", FakeClock().now(), SESSION, ENVELOPE, Pass(), "", Reply(250, "2.0.0", "OK"), 1
    )
    await Chain(PluginSet(filters=(everywhere, elsewhere)), 10).tell_outcome(outcome)
    assert everywhere.plugin.instance.calls == 1
    assert elsewhere.plugin.instance.calls == 0


async def test_a_plugin_can_route() -> None:
    """The first plugin with a route decides."""
    chain = Chain(PluginSet(filters=(step(Answers, "deaf"), step(Routes, "router"))), 10)
    assert await chain.route(ENVELOPE, ENVELOPE.recipients[0], "smtp") == Route(
        "partner", "because"
    )


@pytest.mark.parametrize(
    ("read", "most"), [((), None), (("envelope",), "envelope"), (("header", "envelope"), "header")]
)
async def test_a_listener_needs_what_its_filters_read(read: tuple[Any, ...], most: Any) -> None:
    """The one that reads most decides; other listeners' filters and early hooks don't."""
    steps = [step(answering(None, reads=each), f"{each}") for each in read]
    steps.append(step(answering(None), "elsewhere", Policy(applies_to=frozenset({"other"}))))
    assert Chain(PluginSet(filters=tuple(steps)), 10).reads("milter") == most


async def test_signers_read_all_of_a_message() -> None:
    """There is no signature without the body."""
    signer = step(type("Signs", (Answers,), {"sign": hook(_signs)}))
    assert Chain(PluginSet(signers=(signer,)), 10).reads("milter") == "body"


async def _signs(self: Any) -> None:
    """Signs nothing."""
