"""What every store lets an operator do with the queue."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from filterrelay.spool.selection import Selection
from filterrelay.spool.store import (
    Event,
    NoSuchMessage,
    Spool,
    State,
    recipients_due,
)

from .deposits import (
    BODY,
    DAY,
    HOUR,
    LATER,
    NOON,
    address,
    deferred,
    delivered,
    deposit,
    kinds,
    quarantined,
    stored,
)


async def test_a_held_message_is_left_alone(spool: Spool) -> None:
    """Nobody delivers what an operator has set aside."""
    await spool.commit(deposit(stored()))
    assert await spool.hold(["M1", "NONE"], "looks odd", NOON) == 1
    message = await spool.get("M1")
    assert (message.state, message.reason) == (State.HELD, "looks odd")
    assert await spool.lease("worker-1", LATER, LATER + HOUR, 10) == []
    assert await kinds(spool, "M1") == ["received", "held"]


async def test_a_held_message_is_not_held_again(spool: Spool) -> None:
    """Only queued mail can be held: a quarantined message isn't released by way of a hold."""
    await spool.commit(quarantined("M1"))
    assert await spool.hold(["M1"], "why not", NOON) == 0
    assert (await spool.get("M1")).state is State.QUARANTINED


async def test_a_released_message_is_due_now(spool: Spool) -> None:
    """Release ends the hold, whatever the time of the next attempt was."""
    await spool.commit(deposit(stored(next_attempt=NOON + DAY)))
    await spool.hold(["M1"], "looks odd", NOON)
    assert await spool.release(["M1"], LATER) == 1
    (message,) = await spool.lease("worker-1", LATER, LATER + HOUR, 10)
    assert (message.state, message.reason) == (State.QUEUED, "")
    assert message.recipients[0].next_attempt == LATER
    assert await kinds(spool, "M1") == ["received", "held", "released"]


async def test_a_quarantined_message_is_kept_whole(spool: Spool) -> None:
    """Body, envelope, session and the reason are there for the person who looks."""
    await spool.commit(quarantined("M1"))
    message = await spool.get("M1")
    assert (message.state, message.reason, message.by) == (
        State.QUARANTINED,
        "EICAR found",
        "clamav",
    )
    assert message.session["login"] == "sales"
    assert await spool.body("M1") == BODY
    assert await spool.lease("worker-1", LATER, LATER + HOUR, 10) == []


async def test_release_notes_which_plugins_were_overruled(spool: Spool) -> None:
    """A released message remembers whose verdicts an operator has set aside."""
    await spool.commit(quarantined("M1"))
    await spool.release(["M1"], NOON, passed="clamav")
    assert (await spool.get("M1")).passed == ("clamav",)
    await spool.hold(["M1"], "", NOON)
    await spool.release(["M1"], NOON, passed="spam")
    assert (await spool.get("M1")).passed == ("clamav", "spam")


async def test_a_released_message_is_queued_from_its_release_on(spool: Spool) -> None:
    """The time that it lay aside is no time in which the next hop failed to take it."""
    await spool.commit(quarantined("M1"))
    assert (await spool.get("M1")).queued_at == NOON
    await spool.release(["M1"], LATER)
    message = await spool.get("M1")
    assert (message.received, message.queued_at) == (NOON, LATER)


async def test_queued_mail_needs_no_release(spool: Spool) -> None:
    """Release concerns what is set aside and nothing else."""
    await spool.commit(deposit(stored(next_attempt=LATER)))
    assert await spool.release(["M1"], NOON) == 0
    assert (await spool.get("M1")).recipients[0].next_attempt == LATER


async def test_a_release_sends_nothing_to_who_has_it(spool: Spool) -> None:
    """Recipients that had got the message before the hold don't get it again."""
    message = stored(to=("a@x.example", "b@x.example"))
    await spool.commit(deposit(message))
    await spool.settle(delivered(message, 0))
    await spool.hold(["M1"], "", NOON)
    await spool.release(["M1"], LATER)
    assert [r.index for r in (await spool.get("M1")).pending()] == [1]


@pytest.mark.parametrize("old", [b"short", b"long" * 1000])
@pytest.mark.parametrize("new", [b"brief", b"wide" * 1000])
async def test_released_mail_leaves_with_the_bytes_it_is_given(
    spool: Spool, old: bytes, new: bytes
) -> None:
    """A message that was signed anew leaves with its new bytes and their size."""
    await spool.commit(replace(quarantined("M1"), body=old))
    await spool.release_as("M1", stored().envelope, new, LATER, passed="clamav")
    (message,) = await spool.lease("worker-1", LATER, LATER + HOUR, 10)
    assert await spool.body("M1") == new
    assert (message.state, message.reason, message.by) == (State.QUEUED, "", "")
    assert (message.size, message.passed) == (len(new), ("clamav",))
    assert await kinds(spool, "M1") == ["quarantined", "released"]


async def test_released_mail_leaves_with_the_envelope_it_is_given(spool: Spool) -> None:
    """Sender and recipients that a filter changed are those that delivery sees."""
    await spool.commit(quarantined("M1"))
    other = replace(
        stored(to=("b@x.example", "c@x.example")).envelope,
        sender=address("bounces@office.example"),
        smtputf8=True,
    )
    await spool.release_as("M1", other, BODY, LATER)
    (message,) = await spool.lease("worker-1", LATER, LATER + HOUR, 10)
    assert message.envelope == other
    assert message.recipients == recipients_due(other, LATER)
    (found,) = await spool.select(Selection(sender="bounces@office.example"), NOON)
    assert found.id == "M1"


async def test_only_mail_in_quarantine_is_released_as_something_else(spool: Spool) -> None:
    """Of two who release at once, the second changes nothing of what is on its way."""
    await spool.commit(quarantined("M1"))
    await spool.release_as("M1", stored().envelope, BODY, NOON)
    with pytest.raises(NoSuchMessage):
        await spool.release_as("M1", stored().envelope, b"again" * 1000, NOON)
    assert await spool.body("M1") == BODY


async def test_retry_makes_queued_mail_due_now(spool: Spool) -> None:
    """An operator needn't wait for the schedule."""
    await spool.commit(deposit(stored(next_attempt=NOON + DAY)))
    assert await spool.retry(["M1", "NONE"], LATER) == 1
    assert len(await spool.lease("worker-1", LATER, LATER + HOUR, 10)) == 1
    assert await kinds(spool, "M1") == ["received", "retried"]


async def test_retry_takes_no_message_from_who_delivers_it(spool: Spool) -> None:
    """A message that is being delivered is not delivered twice by impatience."""
    await spool.commit(deposit(stored()))
    await spool.lease("worker-1", NOON, LATER, 10)
    await spool.retry(["M1"], NOON)
    assert await spool.lease("worker-2", NOON, LATER, 10) == []


async def test_a_deleted_message_leaves_its_trace(spool: Spool) -> None:
    """Deletion takes message and body, tells nobody, and can be looked up."""
    await spool.commit(deposit(stored("M1")))
    await spool.commit(quarantined("M2"))
    assert await spool.delete(["M1", "M2", "NONE"], NOON) == 2
    assert (await spool.depth()).messages[State.QUEUED] == 0
    assert await kinds(spool, "M2") == ["quarantined", "deleted"]


async def test_what_was_here_is_known_unless_it_was_deleted(spool: Spool) -> None:
    """What was delivered may not come a second time; what an operator threw away may."""
    for id_ in ("HERE", "DELIVERED", "DELETED", "BACK"):
        await spool.commit(deposit(stored(id_)))
    await spool.settle(delivered(stored("DELIVERED")))
    await spool.delete(["DELETED", "BACK"], LATER)
    await spool.record([Event("BACK", LATER + HOUR, "received", {})])
    await spool.commit(replace(deposit(stored("UNTRACED")), events=()))
    ids = ["HERE", "DELIVERED", "DELETED", "BACK", "UNTRACED", "NONE"]
    assert await spool.known(ids) == {"HERE", "DELIVERED", "BACK", "UNTRACED"}


async def test_naming_a_message_twice_counts_it_once(spool: Spool) -> None:
    """An operator is told how many messages there were, not how many names."""
    await spool.commit(deposit(stored()))
    assert await spool.hold(["M1", "M1"], "", NOON) == 1
    assert await kinds(spool, "M1") == ["received", "held"]


async def test_redirected_mail_is_due_for_its_new_hop(spool: Spool) -> None:
    """Queued mail at once, held mail when it is released; quarantined mail stays where it is."""
    for id_ in ("M1", "M2"):
        await spool.commit(deposit(stored(id_, next_attempt=LATER)))
    await spool.commit(quarantined("M3"))
    await spool.hold(["M2"], "", NOON)
    assert await spool.redirect(["M1", "M2", "M3"], "backup", NOON) == 2
    (taken,) = await spool.lease("worker-1", NOON, LATER, 10, {"": 0})
    assert (taken.id, taken.recipients[0].redirect, taken.recipients[0].upstream) == (
        *("M1", "backup"),
        "backup",
    )
    assert (await spool.get("M2")).state is State.HELD
    assert [each.id for each in await spool.select(Selection(upstream="backup"), NOON)] == [
        "M1",
        "M2",
    ]
    assert (await spool.events("M1"))[-1].data == {"upstream": "backup"}


async def test_redirected_mail_leaves_the_old_hops_row(spool: Spool) -> None:
    """What waited for a hop whose lane is full no longer waits behind it; nor does a bounce."""
    message = stored()
    await spool.commit(deposit(message))
    await spool.settle(deferred(message, LATER))
    await spool.redirect(["M1"], "reject:No such office", NOON)
    (taken,) = await spool.lease("worker-1", NOON, LATER, 10, {"provider": 0})
    assert taken.recipients[0].redirect == "reject:No such office"
    assert taken.recipients[0].upstream == "reject"


async def test_a_redirection_during_an_attempt_outlives_it(spool: Spool) -> None:
    """Whom the attempt leaves undelivered is due for the new hop when it ends."""
    message = stored(to=("a@x.example", "b@x.example"))
    await spool.commit(deposit(message))
    (taken,) = await spool.lease("worker-1", NOON, LATER, 10)
    await spool.begin_attempt("M1", taken.recipients, LATER)
    await spool.redirect(["M1"], "backup", NOON)
    assert await spool.lease("worker-2", NOON, LATER, 10) == []
    await spool.settle(replace(delivered(taken, 0), release=False))
    await spool.settle(deferred(taken, LATER, 1))
    (again,) = await spool.lease("worker-2", NOON, LATER, 10)
    assert [r.index for r in again.pending()] == [1]
    assert (again.recipients[1].redirect, again.recipients[1].upstream) == ("backup", "backup")
    await spool.settle(deferred(again, LATER, 1))
    assert (await spool.get("M1")).recipients[1].next_attempt == LATER


async def test_a_redirection_can_be_taken_back(spool: Spool) -> None:
    """The routes count again."""
    await spool.commit(deposit(stored()))
    await spool.redirect(["M1"], "backup", NOON)
    await spool.redirect(["M1"], "", LATER)
    (stored_recipient,) = (await spool.get("M1")).recipients
    assert (stored_recipient.redirect, stored_recipient.upstream) == ("", "")
    assert stored_recipient.next_attempt == LATER


async def test_who_holds_mail_learns_what_operators_did_to_it(spool: Spool) -> None:
    """Held, redirected and deleted: each act once, in order, and none from before."""
    for id_ in ("M1", "M2", "M3"):
        await spool.commit(deposit(stored(id_)))
    await spool.hold(["M1"], "", NOON)
    before, since = await spool.acts(None)
    assert (before, await spool.acts(since)) == ([], ([], since))
    await spool.redirect(["M2"], "backup", NOON)
    await spool.retry(["M3"], NOON)
    await spool.settle(deferred(await spool.get("M3"), LATER))
    await spool.delete(["M1", "M3"], NOON)
    done, last = await spool.acts(since)
    assert [done[0], *sorted(done[1:])] == ["M2", "M1", "M3"]
    assert await spool.acts(last) == ([], last)


async def test_what_expires_counts_as_deleted(spool: Spool) -> None:
    """A message that went for its age is no more there than one that an operator deleted."""
    await spool.commit(quarantined("OLD", received=NOON - DAY))
    _, since = await spool.acts(None)
    await spool.expire(NOON, NOON - 2 * DAY)
    assert (await spool.acts(since))[0] == ["OLD"]


async def test_many_acts_are_learnt_a_page_at_a_time(spool: Spool) -> None:
    """Without gap or double."""
    _, last = await spool.acts(None)
    ids = [f"M{number:04}" for number in range(1100)]
    for id_ in ids:
        await spool.commit(deposit(stored(id_)))
    await spool.redirect(ids, "backup", NOON)
    learnt: list[str] = []
    page: Sequence[str] = ids
    while page:
        page, last = await spool.acts(last)
        learnt += page
    assert sorted(learnt) == ids
