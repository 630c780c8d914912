"""What a client is told as it speaks, and what that means for its messages."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from filterrelay.chain.chain import Chain
from filterrelay.chain.loader import PluginSet
from filterrelay.intake.relaying import NO_RELAYING
from filterrelay.intake.stages import AuthUnavailable, LoginOver
from filterrelay.mail.message import Message
from filterrelay.mail.reply import Reply
from filterrelay.mail.session import Credentials, Identity
from filterrelay.mail.verdict import Defer, Quarantine
from filterrelay.plugin.testing import a_session, an_envelope
from filterrelay.spool.store import State

from .bench import (
    USER,
    Bench,
    DiscardsFor,
    accepted,
    says,
)


def envelope_reader() -> type[Any]:
    """A filter that looks at no message."""
    reader = says(None)
    reader.reads = "envelope"
    return reader


@pytest.mark.parametrize("name", ["on_connect", "on_helo"])
async def test_plugins_may_refuse_a_client(name: str) -> None:
    """The plugin's own reply is given."""
    bench = Bench(says(Defer(Reply(450, "4.7.1", "Later")), name))
    assert await getattr(bench.intake, name)(USER) == Reply(450, "4.7.1", "Later")


async def test_a_refusal_by_our_own_rules_is_logged_and_counted() -> None:
    """The postmaster sees who was refused what, without a debug log."""
    bench = Bench()
    stranger, to = a_session(), an_envelope()
    with capture_logs() as logs:
        assert await bench.intake.on_recipient(stranger, to, to.recipients[0]) == NO_RELAYING
    (line,) = logs
    assert (line["event"], line["session"], line["client"]) == ("refused", "SESSION", "192.0.2.1")
    assert (line["sender"], line["recipient"]) == ("alice@office.example", "bob@partner.example")
    labels = {"listener": "smtp", "hook": "on_recipient", "by": "policy"}
    counted = bench.metrics.registry.get_sample_value("filterrelay_refusals_total", labels)
    assert counted == 1


async def test_a_login_that_nobody_can_check_is_said_to_be_so() -> None:
    """The door then answers 454 rather than 535."""
    bench = Bench()
    step = bench._step(says(OSError("down"), "authenticate"))
    bench.intake._chain = Chain(PluginSet(authenticators=(step,)), 10)
    with pytest.raises(AuthUnavailable):
        await bench.intake.authenticate(a_session(), Credentials("PLAIN", "a", "b"))


@pytest.mark.parametrize("by_now", [None, Identity("alice", frozen=True)])
async def test_a_login_that_is_over_is_a_refusal(by_now: Identity | None) -> None:
    """Counted and logged with the sender that was tried, for who looks into a stolen password."""
    bench = Bench()
    step = bench._step(says(by_now, "reconfirm"))
    bench.intake._chain = Chain(PluginSet(authenticators=(step,)), 10)
    session = a_session(identity=Identity("alice", source=step.name))
    with pytest.raises(LoginOver), capture_logs() as logs:
        await bench.intake.reconfirm(session, an_envelope())
    assert [(line["event"], line["login"], line["sender"], line["reply"][:9]) for line in logs] == [
        ("refused", "alice", "alice@office.example", "421 4.7.0")
    ]
    labels = {"listener": "smtp", "hook": "on_sender", "by": "policy"}
    assert bench.metrics.registry.get_sample_value("filterrelay_refusals_total", labels) == 1


async def test_a_verdict_on_the_client_counts_for_its_messages() -> None:
    """A plugin may quarantine before it has seen a message."""
    bench = Bench(says(Quarantine("odd client"), "on_connect"))
    assert await bench.intake.on_connect(USER) is None
    await bench.send()
    (stored,) = await bench.stored(State.QUARANTINED)
    assert stored.reason == "odd client"
    bench.intake.on_close(USER)
    await bench.send()
    assert len(bench.delivered) == 1


async def test_a_verdict_on_a_recipient_is_none_on_the_next_message() -> None:
    """Mail to a trap is thrown away; innocent mail of the same connection is delivered."""
    bench = Bench(DiscardsFor)
    for _ in range(2):
        await accepted(bench, "trap@office.example")
    assert not bench.delivered
    await accepted(bench, "bob@partner.example")
    (deposit,) = bench.delivered
    assert len(deposit.events[0].data["steps"]) == 1


async def test_a_transaction_that_was_given_up_leaves_nothing_behind() -> None:
    """After RSET the next MAIL begins anew, also when no plugin asks to see senders."""
    bench = Bench(DiscardsFor)
    to = an_envelope("alice@office.example", "trap@office.example")
    await bench.intake.on_recipient(USER, to, to.recipients[0])
    await accepted(bench, "bob@partner.example")
    assert len(bench.delivered) == 1


async def test_what_was_found_before_the_message_stands_in_its_header() -> None:
    """A finding at RCPT goes into Authentication-Results as one at the end of data does."""
    bench = Bench(DiscardsFor)
    await accepted(bench, "bob@partner.example")
    results = Message("ID", bench.delivered[0].body).get("authentication-results")
    assert "x-list=pass" in results


@pytest.mark.parametrize(
    ("hooks", "listener", "judged"),
    [
        ((), {"senders": "any"}, set()),
        (("on_helo",), {"senders": "any"}, {"on_helo"}),
        (("on_recipient",), {"senders": "any"}, {"on_sender", "on_recipient"}),
        ((), {"senders": "own"}, {"on_sender"}),
    ],
)
def test_only_stages_with_a_judge_need_be_told(
    hooks: tuple[str, ...], listener: dict[str, Any], judged: set[str]
) -> None:
    """With the recipients' judge goes the sender, who ends the transaction before."""
    bench = Bench(*(says(None, each) for each in hooks), **listener)
    assert bench.intake.judged("smtp") == judged


@pytest.mark.parametrize(
    ("filters", "listener", "read"),
    [
        ((), {}, None),
        ((says(None, "on_sender"),), {}, "header"),
        ((says(None),), {}, "body"),
        ((envelope_reader(),), {}, "header"),
        ((), {"senders": "own", "from_header": "own"}, "header"),
        ((), {"quarantine": "own"}, "body"),
    ],
)
def test_a_message_is_needed_as_far_as_it_is_read(
    filters: tuple[type[Any], ...], listener: dict[str, Any], read: str | None
) -> None:
    """What is found goes into the header, and what is kept must be whole."""
    settings: dict[str, Any] = {"senders": "any", "from_header": "any", **listener}
    assert Bench(*filters, **settings).intake.reads("smtp") == read
