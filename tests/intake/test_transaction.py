"""The one way in: what becomes of a message, and what 250 promises."""

from dataclasses import replace
from typing import Any, cast

import pytest
from structlog.contextvars import get_contextvars, merge_contextvars
from structlog.testing import capture_logs

from filterrelay.chain.chain import Chain
from filterrelay.chain.loader import PluginSet
from filterrelay.mail.address import Address
from filterrelay.mail.edits import (
    AddRecipient,
    ChangeSender,
    RemoveRecipient,
    edit_message,
)
from filterrelay.mail.envelope import Recipient
from filterrelay.mail.message import Message
from filterrelay.mail.reply import NO_SPACE, TRY_LATER, Reply
from filterrelay.mail.verdict import Defer, Discard, Pass, Quarantine, Reject, Verdict
from filterrelay.observe.budget import Reservation
from filterrelay.plugin.testing import a_message, an_envelope
from filterrelay.spool.memory import MemorySpool
from filterrelay.spool.store import Deposit, SpoolFull, SpoolUnavailable, State

from .bench import RAW, REJECTS, USER, Bench, Hands, Signs, accepted, says


async def test_250_names_an_id_and_the_message_is_in_the_spool() -> None:
    """What was acknowledged is kept, with its trace, before delivery hears of it."""
    bench = Bench()
    reply = await bench.send()
    assert (reply.code, reply.enhanced) == (250, "2.0.0")
    (stored,) = await bench.stored(State.QUEUED)
    assert stored.id in reply.text
    assert stored.lease.owner == "owner"
    assert [deposit.message.id for deposit in bench.delivered] == [stored.id]
    (event,) = await bench.spool.events(stored.id)
    assert event.data["verdict"] == "pass"


async def test_a_refusal_names_the_id_and_keeps_nothing_but_the_trace() -> None:
    """The sender can quote the ID, and the postmaster finds why."""
    bench = Bench(REJECTS)
    reply = await bench.send()
    assert (reply.code, reply.enhanced) == (550, "5.7.1")
    message_id = reply.text.partition("[")[2].rstrip("]")
    assert not bench.delivered
    (event,) = await bench.spool.events(message_id)
    assert (event.data["verdict"], event.data["by"]) == ("reject", "Says")


async def test_quarantined_mail_is_kept_whole_and_not_delivered() -> None:
    """The client hears 250; the message is as it came, with why it was set aside."""
    bench = Bench(says(Quarantine("looks odd")))
    assert (await bench.send()).code == 250
    (stored,) = await bench.stored(State.QUARANTINED)
    assert (stored.reason, stored.by) == ("looks odd", "Says")
    assert await bench.spool.body(stored.id) == RAW
    assert not bench.delivered


async def test_discarded_mail_is_acknowledged_and_gone() -> None:
    """Only its trace stays."""
    bench = Bench(says(Discard("trap")))
    reply = await bench.send()
    assert reply.code == 250
    assert not bench.delivered
    assert await bench.spool.events(reply.text.split()[-1])


async def test_a_message_that_goes_in_circles_is_refused() -> None:
    """RFC 5321 section 6.3."""
    looping = b"Received: by a\r\n" * 11 + RAW
    reply = await Bench().send(looping)
    assert (reply.code, reply.enhanced) == (554, "5.4.6")


async def test_mail_in_another_persons_name_is_refused_before_a_filter_sees_it() -> None:
    """At the end of data, with the ID, and nothing of it is kept but the trace."""
    bench = Bench(says(None))
    reply = await bench.send(a_message("Hello", **{"from": "ceo@office.example"}).raw)
    assert (reply.code, reply.enhanced) == (550, "5.7.1")
    assert "alice@office.example may not write as ceo@office.example" in reply.text
    message_id = reply.text.partition("[")[2].rstrip("]")
    (event,) = await bench.spool.events(message_id)
    assert (event.data["verdict"], event.data["steps"]) == ("reject", [])


async def test_the_log_says_to_whom_a_message_went_and_what_its_writer_calls_it() -> None:
    """A search for an address or a Message-ID finds the ID; a long list shows its beginning."""
    many = [f"user{number}@partner.example" for number in range(9)]
    with capture_logs() as logs:
        await Bench().send(envelope=an_envelope("alice@office.example", *many))
    (line,) = [line for line in logs if line["event"] == "message"]
    assert line["recipients"] == many[:5]
    assert line["recipient_count"] == 9
    assert line["header_message_id"] == "<1@office.example>"


async def test_a_plugins_log_lines_name_message_and_session() -> None:
    """One search for the ID of a reply finds what went wrong with that message."""
    bench = Bench(says(RuntimeError("boom")))
    with capture_logs([merge_contextvars]) as logs:
        await bench.intake.on_connect(USER)
        reply = await bench.send()
    failed = next(line for line in logs if line["event"] == "plugin_failed")
    assert failed["message_id"] in reply.text
    assert failed["session"] == USER.id


@pytest.mark.parametrize("part", ["_deliver", "_background"])
async def test_what_is_durable_is_acknowledged_whatever_fails_then(part: str) -> None:
    """A 4xx for a message that is in the spool would bring it twice."""

    def fails(*_: Any) -> None:
        for argument in _:
            if hasattr(argument, "close"):
                argument.close()
        raise RuntimeError("boom")

    bench = Bench(says(None, "on_outcome"))
    setattr(bench.intake, part, fails)
    with capture_logs([merge_contextvars]) as logs:
        reply = await bench.send()
    assert reply.code == 250
    (stored,) = await bench.stored(State.QUEUED)
    failed = next(line for line in logs if line["log_level"] == "error")
    assert failed["event"] == {"_deliver": "not_handed_over"}.get(part, "outcome_not_told")
    assert failed["message_id"] == stored.id


async def test_delivery_starts_nothing_in_the_messages_name() -> None:
    """A connection to the next hop outlives the message that opened it."""
    bench = Bench()
    seen: list[dict[str, Any]] = []

    def deliver(_: Deposit, reservation: Reservation) -> None:
        seen.append(get_contextvars())
        reservation.release()

    bench.intake._deliver = deliver
    await bench.send()
    assert seen == [{}]


class FullSpool(MemorySpool):
    """A spool without room."""

    async def commit(self, deposit: Deposit) -> None:
        """Has none."""
        raise SpoolFull(free=0)


class BrokenSpool(MemorySpool):
    """A spool that can't be written."""

    async def commit(self, deposit: Deposit) -> None:
        """Can't."""
        raise SpoolUnavailable("disk I/O error")


@pytest.mark.parametrize(("spool", "reply"), [(FullSpool, NO_SPACE), (BrokenSpool, TRY_LATER)])
async def test_without_a_spool_nothing_is_acknowledged(
    spool: type[MemorySpool], reply: Reply
) -> None:
    """A full or broken disk is our own fault: the client tries again later."""
    bench = Bench(says(None))
    bench.intake._spool = bench.spool = spool(bench.clock)
    told = await bench.send()
    message_id = told.text.partition("[")[2].rstrip("]")
    assert told == replace(reply, text=f"{reply.text} [{message_id}]")
    assert not bench.delivered
    (event,) = await bench.spool.events(message_id)
    assert (event.data["verdict"], event.data["by"]) == ("defer", "")
    assert [step["plugin"] for step in event.data["steps"]] == ["Says"]


async def test_mail_that_can_not_be_signed_is_not_accepted() -> None:
    """Better a 4xx than a message without the signature that the postmaster asked for."""
    bench = Bench(says(None), signers=(says(OSError("no key"), "sign"),))
    told = await bench.send()
    assert told.text.startswith(TRY_LATER.text)
    (event,) = await bench.spool.events(told.text.partition("[")[2].rstrip("]"))
    assert event.data["by"] == "Says"
    assert [(s["hook"], s.get("error")) for s in event.data["steps"]] == [
        ("on_message", None),
        ("sign", "OSError: no key"),
    ]


async def test_a_fault_of_our_own_is_told_with_the_id() -> None:
    """The client hears 451, and the log has the traceback under that ID."""
    bench = Bench()
    bench.intake._rules = replace(bench.intake._rules, listeners=cast("Any", None))
    with capture_logs([merge_contextvars]) as logs:
        reply = await bench.send()
    assert reply.code == 451
    failed = next(line for line in logs if line["event"] == "intake_failed")
    assert f"[{failed['message_id']}]" in reply.text


async def test_a_report_of_our_own_is_signed_and_due_at_once() -> None:
    """Bounces pass no filter."""
    bench = Bench(REJECTS, signers=(Signs,))
    message_id = await bench.intake.submit(an_envelope(""), RAW, about="LOST")
    (stored,) = await bench.spool.lease("x", bench.clock.now(), bench.clock.now(), 10)
    assert stored.id == message_id
    assert (await bench.spool.body(message_id)).startswith(b"X-Signature")
    (event,) = await bench.spool.events(message_id)
    assert event.data["about"] == "LOST"


async def test_messages_are_counted_by_listener_and_verdict() -> None:
    """The figures on the first panel of every dashboard."""
    bench = Bench(REJECTS)
    await bench.send()
    labels = {"listener": "smtp", "verdict": "reject"}
    registry = bench.metrics.registry
    assert registry.get_sample_value("filterrelay_messages_total", labels) == 1
    assert registry.get_sample_value("filterrelay_message_bytes_total", labels) == len(RAW)


def expected(bench: Bench, listener: str = "smtp") -> float:
    """For how many recipients that came there mail is to be delivered."""
    labels = {"listener": listener}
    return bench.metrics.registry.get_sample_value("filterrelay_recipients_total", labels) or 0


async def test_recipients_are_counted_that_mail_is_accepted_for() -> None:
    """All that deliveries can be set against: reports of our own, too."""
    bench = Bench()
    await accepted(bench, "bob@partner.example", "carol@partner.example")
    await bench.send()
    assert expected(bench) == 3
    await bench.intake.submit(an_envelope(), RAW)
    assert (expected(bench), expected(bench, "none")) == (3, 1)


@pytest.mark.parametrize(
    "verdict",
    [Reject(NO_SPACE), Defer(NO_SPACE), Discard("a trap"), Quarantine("looks odd")],
)
async def test_recipients_of_what_is_not_sent_on_are_not_counted(verdict: Verdict) -> None:
    """Nobody waits for their mail."""
    bench = Bench(says(verdict))
    await bench.send()
    assert expected(bench) == 0


@pytest.mark.parametrize(
    ("door", "code", "count"),
    [("proxy", 250, 1), ("proxy", 451, 0), ("proxy", 550, 1), ("milter", 250, 0)],
)
async def test_recipients_of_what_is_passed_on_count_where_we_do_that(
    door: str, code: int, count: int
) -> None:
    """A proxy's next hop has to take them; what a milter lets pass is its mail server's."""
    bench, onward = Bench(), Hands(reply=Reply(code, "", "said by the next hop"))
    await bench.send(session=replace(USER, door=door), onward=onward)
    assert (expected(bench), len(onward.passed)) == (count, 1)


@pytest.mark.parametrize(
    ("code", "verdict"), [(250, "pass"), (451, "defer"), (554, "reject"), (550, "reject")]
)
async def test_a_message_counts_as_its_client_heard_of_it(code: int, verdict: str) -> None:
    """A proxy's next hop that puts all mail off is seen where filters that do so are."""
    bench, onward = Bench(), Hands(reply=Reply(code, "", "said by the next hop"))
    await bench.send(session=replace(USER, door="proxy"), onward=onward)
    labels = {"listener": "smtp", "verdict": verdict}
    assert bench.metrics.registry.get_sample_value("filterrelay_messages_total", labels) == 1


async def test_released_mail_is_signed_and_due_and_not_caught_again() -> None:
    """The operator's word stands above the plugin that caught it."""
    bench = Bench(says(Quarantine("looks odd")), signers=(Signs,))
    await bench.send()
    (stored,) = await bench.stored(State.QUARANTINED)
    verdict = await bench.intake.release(stored, await bench.spool.body(stored.id))
    assert verdict == Pass()
    (leased,) = await bench.spool.lease("x", bench.clock.now(), bench.clock.now(), 10)
    body = await bench.spool.body(leased.id)
    assert body.startswith(b"X-Signature: Received")
    assert body.endswith(RAW)


async def test_released_mail_is_still_seen_by_the_other_filters() -> None:
    """Overruling one filter doesn't let a virus pass."""
    bench = Bench(says(Quarantine("looks odd")))
    await bench.send()
    (stored,) = await bench.stored(State.QUARANTINED)
    bench.intake._chain = Chain(PluginSet(filters=(bench._step(REJECTS, "scanner"),)), 10)
    verdict = await bench.intake.release(stored, await bench.spool.body(stored.id))
    assert isinstance(verdict, Reject)
    assert await bench.stored(State.QUARANTINED)


def editor(*edits: Any) -> type[Any]:
    """A plugin that makes these edits."""
    made = says(Pass(edits=edits))
    made.edits = True
    return made


async def set_aside(bench: Bench) -> Any:
    """A message in quarantine."""
    await bench.send()
    (stored,) = await bench.stored(State.QUARANTINED)
    return stored


async def test_released_mail_leaves_as_the_other_filters_want_it() -> None:
    """A recipient that a filter adds and a sender that it changes hold for released mail too."""
    bench = Bench(says(Quarantine("looks odd")))
    stored = await set_aside(bench)
    archive = Recipient(Address("archive", "office.example"))
    edits = editor(AddRecipient(archive), ChangeSender(Address("bounces", "office.example")))
    bench.intake._chain = Chain(PluginSet(filters=(bench._step(edits, "archive"),)), 10)
    assert isinstance(await bench.intake.release(stored, RAW), Pass)
    (queued,) = await bench.stored(State.QUEUED)
    assert queued.envelope.return_path == "bounces@office.example"
    assert [str(r.recipient) for r in queued.recipients] == [
        "bob@partner.example",
        "archive@office.example",
    ]


async def test_released_mail_that_is_for_nobody_stays() -> None:
    """What no recipient is left for is not sent, and the operator hears why."""
    bench = Bench(says(Quarantine("looks odd")))
    stored = await set_aside(bench)
    drop = editor(RemoveRecipient(stored.envelope.recipients[0].address))
    bench.intake._chain = Chain(PluginSet(filters=(bench._step(drop, "drop"),)), 10)
    assert await bench.intake.release(stored, RAW) == Discard("no recipient is left")
    assert await bench.stored(State.QUARANTINED)


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [(Reply(550, "5.6.11", "Bare LF"), "reject"), (Reply(452, "4.3.1", "No room"), "defer")],
)
async def test_what_the_door_can_not_take_is_known_by_its_id(reply: Reply, verdict: str) -> None:
    """A message refused for its form or size is counted and traced like any other."""
    bench = Bench()
    told = bench.intake.refuse_content(USER, an_envelope(), reply, 12_345)
    for work in bench.work:
        await work
    assert (told.code, told.enhanced) == (reply.code, reply.enhanced)
    (event,) = await bench.spool.events(told.text.partition("[")[2].rstrip("]"))
    assert (event.data["verdict"], event.data["size"]) == (verdict, 12_345)
    assert event.data["sender"] == an_envelope().return_path
    labels = {"listener": "smtp", "verdict": verdict}
    count = bench.metrics.registry.get_sample_value
    assert count("filterrelay_messages_total", labels) == 1


async def test_a_door_may_pass_mail_on_itself_and_its_reply_is_the_reply() -> None:
    """Nothing is kept but the trace; the edits tell all that became of the message."""
    bench, onward = Bench(signers=(Signs,)), Hands()
    reply = await bench.send(onward=onward)
    assert reply.text == "taken by the next hop as 4711"
    (judged,) = onward.passed
    assert judged.message.raw == edit_message(Message("ID", RAW), judged.edits).raw
    assert judged.message.raw.startswith(b"X-Signature: ")
    assert not bench.delivered
    assert await bench.spool.events(judged.message.id)


async def test_a_door_is_not_asked_to_pass_on_what_is_refused() -> None:
    """A refusal is the intake's own reply."""
    onward = Hands(holds=True)
    assert (await Bench(REJECTS).send(onward=onward)).code == 550
    assert not onward.passed


@pytest.mark.parametrize("holds", [False, True])
async def test_what_is_set_aside_is_ours_to_keep_unless_it_is_held_where_it_goes(
    holds: bool,
) -> None:
    """Held mail leaves as it is when it is let go, so it is signed already."""
    bench, onward = Bench(says(Quarantine("looks odd")), signers=(Signs,)), Hands(holds=holds)
    assert (await bench.send(onward=onward)).code == 250
    assert len(onward.passed) == holds
    assert len(await bench.stored(State.QUARANTINED)) == (not holds)
    assert all(judged.message.all("x-signature") for judged in onward.passed)


async def test_released_mail_goes_where_its_listener_passes_mail_on() -> None:
    """Not the routes' way: the door that it came through had a next hop of its own."""
    bench = Bench(says(Quarantine("looks odd")), upstream="reinject", kind="proxy")
    await bench.send()
    (stored,) = await bench.stored(State.QUARANTINED)
    await bench.intake.release(stored, RAW)
    (queued,) = await bench.stored(State.QUEUED)
    assert [each.redirect for each in (*stored.recipients, *queued.recipients)] == ["reinject"] * 2
