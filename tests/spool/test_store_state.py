"""What every store keeps of a message, and of what becomes of it."""

from dataclasses import replace

import pytest

from filterrelay.errors import FilterRelayError
from filterrelay.mail.address import Address
from filterrelay.mail.envelope import Envelope, Recipient
from filterrelay.spool.selection import Selection
from filterrelay.spool.store import (
    Event,
    Lease,
    NoSuchMessage,
    RecipientState,
    Settlement,
    Spool,
    State,
    StoredRecipient,
)

from .deposits import (
    BODY,
    DAY,
    HOUR,
    LATER,
    MINUTE,
    NOON,
    address,
    deferred,
    delivered,
    deposit,
    kinds,
    quarantined,
    settled,
    stored,
)


async def test_a_message_comes_back_as_it_went_in(spool: Spool) -> None:
    """Envelope, parameters, session, recipients and marks survive the spool unchanged."""
    anna = Recipient(address("anna@partner.example"), ("FAILURE", "DELAY"), "rfc822;anna@a.example")
    jörg = Recipient(Address('"jörg at home"', "büro.example"))
    master = Recipient(Address("postmaster", ""))
    message = replace(
        stored(),
        envelope=Envelope(
            sender=None,
            recipients=(anna, jörg, master),
            body="8BITMIME",
            smtputf8=True,
            requiretls=True,
            ret="HDRS",
            envid="QQ314159",
            auth="<>",
            size=12345,
        ),
        recipients=(
            StoredRecipient(0, anna, RecipientState.DELIVERED, 2, None, "250 OK", "provider"),
            StoredRecipient(1, jörg, attempts=1, next_attempt=LATER, last_reply="451 ä"),
            StoredRecipient(2, master, warned=True, unreached=True),
        ),
        session={"client_ip": "192.0.2.7", "tls": None, "nested": [1, {"a": 0.5}]},
        state=State.HELD,
        reason="held by Bob",
        by="attachments",
        lease=Lease("worker-1", LATER),
        passed=("clamav", "spam"),
    )
    await spool.commit(deposit(message))
    assert await spool.get("M1") == replace(message, size=len(BODY))


async def test_a_body_comes_back_byte_for_byte(spool: Spool) -> None:
    """Nothing re-encodes what was accepted."""
    body = bytes(range(256)) + b"\r\n.\r\n\x00"
    await spool.commit(deposit(stored(), body))
    assert await spool.body("M1") == body


async def test_a_large_body_comes_back_byte_for_byte(spool: Spool) -> None:
    """What is too large for the database is none the worse for it."""
    body = bytes(range(256)) * 100
    await spool.commit(deposit(stored(), body))
    assert await spool.body("M1") == body


async def test_many_bodies_come_at_once(spool: Spool) -> None:
    """Small and large ones, of those that are there."""
    large = BODY * 200
    await spool.commit(deposit(stored("M1")))
    await spool.commit(deposit(stored("M2"), large))
    await spool.commit(deposit(stored("M3")))
    assert await spool.bodies(["M1", "M2", "NONE"]) == {"M1": BODY, "M2": large}


async def test_an_unknown_message_has_a_name_for_its_absence(spool: Spool) -> None:
    """Asking for a message that isn't there says so, in each way of asking."""
    with pytest.raises(NoSuchMessage):
        await spool.get("NONE")
    with pytest.raises(NoSuchMessage):
        await spool.body("NONE")
    with pytest.raises(NoSuchMessage):
        await spool.release_as("NONE", stored().envelope, b"x", NOON)


async def test_the_same_message_is_not_taken_twice(spool: Spool) -> None:
    """A second message with an ID that is in use is an error; the first one stays."""
    await spool.commit(deposit(stored()))
    with pytest.raises(FilterRelayError):
        await spool.commit(deposit(stored(), b"other"))
    assert await spool.body("M1") == BODY


async def test_a_recipient_without_its_state_is_refused(spool: Spool) -> None:
    """A recipient that nobody would ever try must not be accepted in silence."""
    message = replace(stored(to=("a@x.example", "b@x.example")), recipients=stored().recipients)
    with pytest.raises(ValueError, match="recipient"):
        await spool.commit(deposit(message))


async def test_a_delivered_message_is_gone_and_its_trace_stays(spool: Spool) -> None:
    """Once everybody has it, only the events are kept."""
    message = stored(to=("a@x.example", "b@x.example"))
    await spool.commit(deposit(message))
    await spool.settle(delivered(message))
    with pytest.raises(NoSuchMessage):
        await spool.get("M1")
    with pytest.raises(NoSuchMessage):
        await spool.body("M1")
    assert await kinds(spool, "M1") == ["received", "attempt"]


async def test_a_bounced_recipient_has_ended_too(spool: Spool) -> None:
    """A message whose last recipient bounced is as finished as a delivered one."""
    message = stored()
    await spool.commit(deposit(message))
    await spool.settle(settled(message, RecipientState.BOUNCED, None, [0]))
    with pytest.raises(NoSuchMessage):
        await spool.get("M1")


@pytest.mark.parametrize("done", [0, 1])
async def test_a_message_stays_for_its_last_recipient(spool: Spool, done: int) -> None:
    """One delivered recipient doesn't take the message away from the other."""
    message = stored(to=("a@x.example", "b@x.example"))
    await spool.commit(deposit(message))
    await spool.settle(delivered(message, done))
    left = await spool.get("M1")
    assert [r.index for r in left.pending()] == [1 - done]
    assert left.recipients[done].last_reply == "250 2.0.0 OK"
    await spool.settle(delivered(message, 1 - done))
    with pytest.raises(NoSuchMessage):
        await spool.get("M1")


async def test_the_same_result_told_twice_harms_nobody(spool: Spool) -> None:
    """A settlement repeated for one recipient leaves the other recipient's mail alone."""
    message = stored(to=("a@x.example", "b@x.example"))
    await spool.commit(deposit(message))
    await spool.settle(delivered(message, 0))
    await spool.settle(delivered(message, 0))
    assert [r.index for r in (await spool.get("M1")).pending()] == [1]


async def test_a_delivered_recipient_is_not_tried_again(spool: Spool) -> None:
    """A late result of an older attempt can't bring a recipient back into the queue."""
    message = stored(to=("a@x.example", "b@x.example"))
    await spool.commit(deposit(message))
    await spool.settle(delivered(message, 0))
    await spool.settle(deferred(message, LATER, 0))
    assert (await spool.get("M1")).recipients[0].state is RecipientState.DELIVERED


async def test_a_deferred_message_waits_for_its_next_attempt(spool: Spool) -> None:
    """A temporary failure ends the lease and sets the time of the next attempt."""
    await spool.commit(deposit(stored(lease=Lease("worker-1", NOON + MINUTE))))
    message = await spool.get("M1")
    await spool.settle(deferred(message, LATER))
    (stored_,) = (await spool.get("M1")).recipients
    assert (stored_.attempts, stored_.last_reply) == (1, "451 4.7.1 Greylisted")
    assert stored_.upstream == "provider"
    assert await spool.lease("worker-2", LATER - MINUTE, LATER, 10) == []
    assert len(await spool.lease("worker-2", LATER, LATER + HOUR, 10)) == 1


async def test_a_lease_may_outlast_a_settlement(spool: Spool) -> None:
    """A worker that still tries other recipients keeps the message."""
    message = stored(to=("a@x.example", "b@x.example"), lease=Lease("worker-1", LATER))
    await spool.commit(deposit(message))
    await spool.settle(replace(delivered(message, 0), release=False))
    assert (await spool.get("M1")).lease == Lease("worker-1", LATER)


async def test_the_result_for_a_deleted_message_is_only_noted(spool: Spool) -> None:
    """A delivery that an operator overtook still shows in the trace."""
    message = stored()
    await spool.commit(deposit(message))
    await spool.delete(["M1"], NOON)
    await spool.settle(delivered(message))
    assert await kinds(spool, "M1") == ["received", "deleted", "attempt"]


async def test_the_delay_notice_is_remembered(spool: Spool) -> None:
    """The sender gets one notice, not one a worker."""
    message = stored()
    await spool.commit(deposit(message))
    warned = replace(message.recipients[0], warned=True, next_attempt=LATER)
    await spool.settle(Settlement("M1", (warned,)))
    assert (await spool.get("M1")).recipients[0].warned


async def test_events_are_told_in_order(spool: Spool) -> None:
    """The trace reads as things happened, also those of one moment."""
    events = [Event("M1", NOON, kind, {"n": n}) for n, kind in enumerate(("received", "bounce"))]
    await spool.record(events)
    await spool.record([Event("M1", NOON - MINUTE, "delay-notice", {})])
    assert [e.kind for e in await spool.events("M1")] == ["delay-notice", "received", "bounce"]
    assert (await spool.events("M1"))[1:] == events


async def test_an_empty_spool_has_no_depth(spool: Spool) -> None:
    """Nothing queued is zero messages and no oldest one, for each state."""
    depth = await spool.depth()
    assert dict(depth.messages) == dict.fromkeys(State, 0)
    assert dict(depth.oldest) == dict.fromkeys(State)


async def test_the_depth_counts_by_state(spool: Spool) -> None:
    """How much lies where, and since when."""
    await spool.commit(deposit(stored("M1", received=NOON + MINUTE)))
    await spool.commit(deposit(stored("M2", received=NOON)))
    await spool.commit(quarantined("M3"))
    depth = await spool.depth()
    assert dict(depth.messages) == {State.QUEUED: 2, State.HELD: 0, State.QUARANTINED: 1}
    assert depth.oldest[State.QUEUED] == NOON
    assert depth.oldest[State.HELD] is None


async def test_the_depth_is_known_by_next_hop(spool: Spool) -> None:
    """Of what waits and what is held; what was never tried waits for no hop yet."""
    for id_, hop in (("M1", "a"), ("M2", "a"), ("M3", "mx:b"), ("M4", "a")):
        message = stored(id_, received=NOON + int(id_[1]) * MINUTE)
        await spool.commit(deposit(message))
        waiting = tuple(replace(r, upstream=hop, next_attempt=NOON) for r in message.recipients)
        await spool.settle(Settlement(id_, waiting))
    await spool.hold(["M4"], "look at it", NOON)
    await spool.commit(deposit(stored("FRESH")))
    await spool.commit(quarantined("SPAM"))
    found = {(each.hop, each.state): each for each in await spool.backlogs()}
    assert {key: each.messages for key, each in found.items()} == {
        ("a", State.QUEUED): 2,
        ("mx:b", State.QUEUED): 1,
        ("a", State.HELD): 1,
        ("", State.QUEUED): 1,
    }
    assert found["a", State.QUEUED].oldest == NOON + MINUTE


async def test_old_quarantine_is_dropped(spool: Spool) -> None:
    """What nobody looked at in time goes, and the trace says why."""
    await spool.commit(quarantined("OLD", received=NOON - DAY))
    await spool.commit(quarantined("NEW"))
    await spool.commit(deposit(stored("QUEUED", received=NOON - DAY)))
    assert await spool.expire(NOON, NOON - 2 * DAY) == 1
    left = await spool.select(Selection(states=tuple(State)), NOON)
    assert [m.id for m in left] == ["QUEUED", "NEW"]
    assert await kinds(spool, "OLD") == ["quarantined", "deleted"]


async def test_old_events_go_when_their_message_is_gone(spool: Spool) -> None:
    """The trace is kept as long as said, and as long as the message is there."""
    gone = stored("GONE", received=NOON - DAY)
    await spool.commit(deposit(gone))
    await spool.settle(delivered(gone))
    await spool.commit(deposit(stored("THERE", received=NOON - DAY)))
    await spool.expire(NOON - DAY, NOON)
    assert await spool.events("GONE") == []
    assert await kinds(spool, "THERE") == ["received"]


async def test_a_probe_leaves_nothing_behind(spool: Spool) -> None:
    """Asking whether mail could be stored stores none."""
    await spool.probe()
    assert dict((await spool.depth()).messages) == dict.fromkeys(State, 0)
    assert await spool.events("") == []
