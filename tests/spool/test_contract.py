"""What every store keeps to, whichever it is."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from filterrelay.errors import FilterRelayError
from filterrelay.mail.address import Address
from filterrelay.mail.envelope import Envelope, Recipient
from filterrelay.spool.memory import MemorySpool
from filterrelay.spool.selection import Search, Selection
from filterrelay.spool.sqlite import SqliteSpool
from filterrelay.spool.store import (
    Backlog,
    Event,
    Lease,
    NoSuchMessage,
    NotQueued,
    RecipientState,
    Settlement,
    Spool,
    State,
    StoredRecipient,
    recipients_due,
)

from .deposits import (
    BODY,
    DAY,
    HOUR,
    MINUTE,
    NOON,
    StandingClock,
    address,
    deferred,
    delivered,
    deposit,
    quarantined,
    settled,
    stored,
)

LATER = NOON + HOUR


@pytest.fixture(params=["sqlite", "memory"])
async def spool(
    request: pytest.FixtureRequest, tmp_path: Path, clock: StandingClock
) -> AsyncIterator[Spool]:
    """Each store in turn, open."""
    store: Spool
    if request.param == "sqlite":
        store = SqliteSpool(tmp_path / "spool.sqlite", clock, large=1024)
    else:
        store = MemorySpool(clock)
    await store.open()
    yield store
    await store.close()


async def kinds(spool: Spool, message_id: str) -> list[str]:
    """What the trace says happened, in order."""
    return [event.kind for event in await spool.events(message_id)]


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


async def test_an_attempt_at_a_deleted_message_is_refused(spool: Spool) -> None:
    """What an operator deleted after it was leased is not sent any more."""
    with pytest.raises(NoSuchMessage):
        await spool.begin_attempt("NONE", [0], LATER)


async def test_an_attempt_at_a_held_message_is_refused(spool: Spool) -> None:
    """What an operator has set aside is neither sent nor counted as tried."""
    await spool.commit(deposit(stored()))
    await spool.lease("worker-1", NOON, LATER, 10)
    assert await spool.state("M1") is State.QUEUED
    await spool.hold(["M1"], "look at it", NOON)
    assert await spool.state("M1") is State.HELD
    with pytest.raises(NotQueued):
        await spool.begin_attempt("M1", [0], LATER)
    assert (await spool.get("M1")).recipients[0].attempts == 0
    with pytest.raises(NoSuchMessage):
        await spool.state("NONE")


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


async def test_a_due_message_is_leased_once(spool: Spool) -> None:
    """Two workers that ask for work never get the same message."""
    await spool.commit(deposit(stored()))
    (mine,) = await spool.lease("worker-1", NOON, LATER, 10)
    assert mine.lease == Lease("worker-1", LATER)
    assert mine == await spool.get("M1")
    assert await spool.lease("worker-2", NOON, LATER, 10) == []


async def test_a_message_is_not_leased_before_its_time(spool: Spool) -> None:
    """Nobody gets a message whose next attempt is still to come."""
    await spool.commit(deposit(stored(next_attempt=LATER)))
    assert await spool.lease("worker-1", LATER - MINUTE, LATER, 10) == []
    assert len(await spool.lease("worker-1", LATER, LATER + HOUR, 10)) == 1


async def test_the_longest_due_are_leased_first(spool: Spool) -> None:
    """With more work than hands, the order is that of the attempts' times."""
    for minutes, id_ in ((3, "C"), (1, "A"), (2, "B")):
        await spool.commit(deposit(stored(id_, next_attempt=NOON + minutes * MINUTE)))
    leased = await spool.lease("worker-1", LATER, LATER + HOUR, 2)
    assert [message.id for message in leased] == ["A", "B"]


async def test_a_long_queue_for_one_next_hop_hides_no_other_mail(spool: Spool) -> None:
    """Of each upstream's mail as much is leased as there is room for, whoever waits longer."""
    for n, upstream in enumerate(["dead"] * 5 + ["alive", "", "gone"], 1):
        message = stored(f"{upstream}{n}")
        await spool.commit(deposit(message))
        if upstream:
            after = deferred(message, NOON + n * MINUTE)
            (waiting,) = after.recipients
            await spool.settle(replace(after, recipients=(replace(waiting, upstream=upstream),)))
    leased = await spool.lease("worker-1", LATER, LATER + HOUR, 10, {"dead": 2, "alive": 5})
    assert [message.id for message in leased] == ["7", "dead1", "dead2", "alive6", "gone8"]
    leased = await spool.lease("worker-1", LATER, LATER + HOUR, 10, {"dead": 0})
    assert leased == []


async def waiting(spool: Spool, id_: str, *upstreams: str, minutes: int = 0) -> None:
    """A due message whose recipients wait for these hops."""
    message = stored(id_, to=[f"r{n}@x.example" for n in range(len(upstreams))])
    await spool.commit(deposit(message))
    after = deferred(message, NOON + minutes * MINUTE)
    recipients = [
        replace(stored, upstream=upstream)
        for stored, upstream in zip(after.recipients, upstreams, strict=True)
    ]
    await spool.settle(replace(after, recipients=tuple(recipients)))


async def test_however_many_hops_there_are_no_more_is_leased_than_asked_for(spool: Spool) -> None:
    """Each hop has its turn, whoever has waited longest; none is left out."""
    for hop in range(12):
        for number in range(3):
            await waiting(spool, f"{hop:02}-{number}", f"mx:site{hop:02}", minutes=hop)
    turns = [await spool.lease("worker-1", LATER, LATER + HOUR, 5) for _ in range(8)]
    assert [len(turn) for turn in turns] == [5, 5, 5, 5, 5, 5, 5, 1]
    first = {message.id[:2] for turn in turns[:6] for message in turn}
    assert first == {f"{hop:02}" for hop in range(12)}
    assert len({message.id for turn in turns for message in turn}) == 36


async def test_a_look_in_vain_is_no_turn(spool: Spool) -> None:
    """Who was last stays last when nothing is due for a while."""
    for n, hop in enumerate("aabc"):
        message = stored(f"M{n}")
        await spool.commit(deposit(message))
        waiting = deferred(message, NOON)
        recipients = tuple(replace(r, upstream=hop) for r in waiting.recipients)
        await spool.settle(replace(waiting, recipients=recipients))
    (first,) = await spool.lease("A", LATER, LATER + HOUR, 1)
    assert await spool.lease("A", NOON - HOUR, LATER, 1) == []
    (second,) = await spool.lease("A", LATER, LATER + HOUR, 1)
    assert (first.id, second.id) == ("M0", "M2")


async def test_hops_without_room_take_no_turn(spool: Spool) -> None:
    """Behind many that are full the others' mail is found at the first look."""
    rooms = {f"mx:full{hop:02}": 0 for hop in range(20)}
    for hop in rooms:
        await waiting(spool, hop, hop)
    await waiting(spool, "OPEN", "mx:open")
    leased = await spool.lease("worker-1", LATER, LATER + HOUR, 2, rooms)
    assert [message.id for message in leased] == ["OPEN"]


async def test_a_message_for_two_hops_waits_for_neither(spool: Spool) -> None:
    """The one that is full doesn't hold up the other one's recipient; then it is by itself."""
    await waiting(spool, "BOTH", "full", "open")
    full = {"full": 0, "open": 5}
    (message,) = await spool.lease("worker-1", LATER, LATER + HOUR, 5, full)
    await spool.settle(delivered(message, 1))
    await waiting(spool, "PURE", "full")
    await spool.settle(Settlement("BOTH", (replace(message.recipients[0], upstream="full"),)))
    assert await spool.lease("worker-1", LATER, LATER + HOUR, 5, full) == []


async def test_who_has_lost_a_lease_doesnt_end_anothers(spool: Spool) -> None:
    """A result that comes too late is kept, and the message stays with who has it now."""
    await spool.commit(deposit(stored(to=("a@x.example", "b@x.example"))))
    (message,) = await spool.lease("worker-1", NOON, NOON + MINUTE, 5)
    await spool.lease("worker-2", LATER, LATER + HOUR, 5)
    await spool.settle(replace(delivered(message, 0), owner="worker-1"))
    after = await spool.get("M1")
    assert after.lease == Lease("worker-2", LATER + HOUR)
    assert [each.index for each in after.pending()] == [1]
    await spool.settle(Settlement("M1", (), owner="worker-2"))
    assert (await spool.get("M1")).lease is None


async def test_a_fresh_message_is_left_to_who_accepted_it(spool: Spool) -> None:
    """While its first lease runs it is delivered from memory, and others keep away."""
    await spool.commit(deposit(stored(lease=Lease("worker-1", LATER))))
    assert await spool.lease("worker-2", LATER - MINUTE, LATER + HOUR, 10) == []


async def test_a_lease_that_ran_out_is_taken_over(spool: Spool) -> None:
    """Mail of a process that vanished is delivered by another."""
    await spool.commit(deposit(stored(lease=Lease("worker-1", LATER))))
    (taken,) = await spool.lease("worker-2", LATER, LATER + HOUR, 10)
    assert taken.lease == Lease("worker-2", LATER + HOUR)


async def unreachable(spool: Spool, id_: str, *hops: str) -> None:
    """A message with a recipient for each hop, deferred because none could be reached."""
    to = [f"r{number}@partner.example" for number in range(len(hops))]
    message = stored(id_, to, lease=Lease("w1", NOON + HOUR))
    await spool.commit(deposit(message))
    recipients = tuple(
        replace(each, attempts=1, next_attempt=NOON + DAY, upstream=hop, unreached=True)
        for each, hop in zip(message.recipients, hops, strict=True)
    )
    await spool.settle(Settlement(id_, recipients))


async def early(
    spool: Spool, rooms: dict[str, int], others: int = 0, owner: str = "w1"
) -> list[str]:
    """The IDs of what is leased before its time."""
    leased = await spool.lease_unreached(owner, NOON, NOON + 2 * HOUR, rooms, others)
    return [message.id for message in leased]


async def test_mail_for_a_hop_that_was_down_is_leased_before_its_time(spool: Spool) -> None:
    """The first accepted first, so many as there is room for, and each once."""
    for number in (2, 1, 3):
        await unreachable(spool, f"M{number}", "provider")
    await unreachable(spool, "OTHER", "partner")
    assert await spool.lease("w1", NOON, NOON + HOUR, 10) == []
    assert await early(spool, {"provider": 2}) == ["M1", "M2"]
    assert await early(spool, {"provider": 2}, owner="w2") == ["M3"]
    assert await early(spool, {"provider": 2}) == []
    (leased,) = await spool.lease_unreached("w1", NOON, NOON + HOUR, {"partner": 1})
    assert leased.lease == Lease("w1", NOON + HOUR)
    assert leased.recipients[0].unreached
    late = NOON + HOUR
    (taken_over,) = await spool.lease_unreached("w2", late, late + HOUR, {"partner": 1})
    assert taken_over.lease == Lease("w2", late + HOUR)


async def test_each_hop_that_was_down_can_be_tried_with_one_message(spool: Spool) -> None:
    """Also those that nobody has in mind after a start."""
    for number in range(3):
        await unreachable(spool, f"A{number}", "provider")
        await unreachable(spool, f"B{number}", "mx:mail.partner.example")
    assert sorted(await early(spool, {}, 1)) == ["A0", "B0"]
    assert sorted(await early(spool, {"provider": 5}, 1)) == ["A1", "A2", "B1"]


async def test_mail_waits_for_the_first_hop_that_was_down(spool: Spool) -> None:
    """When that one has its recipient, the message waits for the next."""
    await unreachable(spool, "M1", "provider", "partner")
    assert await early(spool, {"partner": 1}) == []
    assert await early(spool, {"provider": 1}) == ["M1"]
    message = await spool.get("M1")
    await spool.settle(delivered(message, 0))
    assert await early(spool, {"partner": 1}) == ["M1"]


async def test_an_answer_is_waited_out(spool: Spool) -> None:
    """What the far side has spoken about isn't leased before its time."""
    await unreachable(spool, "M1", "provider")
    message = await spool.get("M1")
    answered = replace(message.recipients[0], unreached=False)
    await spool.settle(Settlement("M1", (answered,)))
    assert await early(spool, {"provider": 1}, 1) == []


async def test_an_attempt_that_crashed_is_not_made_early_again(spool: Spool) -> None:
    """A message that brings the relay down would do so at once, again and again."""
    await unreachable(spool, "M1", "provider")
    assert await early(spool, {"provider": 1}) == ["M1"]
    await spool.begin_attempt("M1", [0], NOON + HOUR)
    await spool.recover(NOON, [])
    assert await early(spool, {"provider": 1}, 1) == []


async def test_held_mail_is_not_leased_early(spool: Spool) -> None:
    """Once released it is due like any."""
    await unreachable(spool, "M1", "provider")
    await spool.hold(["M1"], "look at it", NOON)
    assert await early(spool, {"provider": 1}, 1) == []


async def test_a_renewed_lease_holds_longer(spool: Spool) -> None:
    """A slow delivery keeps its message as long as its process lives."""
    await spool.commit(deposit(stored(lease=Lease("worker-1", LATER))))
    await spool.renew("worker-1", ["M1"], LATER + HOUR)
    assert await spool.lease("worker-2", LATER + MINUTE, LATER + DAY, 10) == []
    assert len(await spool.lease("worker-2", LATER + HOUR, LATER + DAY, 10)) == 1


async def test_a_lost_lease_is_not_renewed(spool: Spool) -> None:
    """Who woke up too late can't take its message back."""
    await spool.commit(deposit(stored()))
    await spool.lease("worker-2", NOON, LATER, 10)
    await spool.renew("worker-1", ["M1"], LATER + DAY)
    assert (await spool.get("M1")).lease == Lease("worker-2", LATER)


async def test_recovery_makes_untried_mail_of_the_dead_due_at_once(spool: Spool) -> None:
    """After a crash, mail that was accepted but never tried goes out without delay."""
    await spool.commit(deposit(stored("DEAD", lease=Lease("worker-1", LATER))))
    await spool.commit(deposit(stored("LIVE", lease=Lease("worker-2", LATER))))
    assert await spool.recover(NOON, ["worker-2"]) == 1
    leased = await spool.lease("worker-3", NOON, LATER, 10)
    assert [message.id for message in leased] == ["DEAD"]


async def test_recovery_keeps_the_time_of_an_attempt_that_crashed(spool: Spool) -> None:
    """A message that kills its worker can't hammer the next hop with each restart."""
    await spool.commit(deposit(stored(lease=Lease("worker-1", LATER))))
    await spool.begin_attempt("M1", [0], LATER)
    assert await spool.recover(NOON, []) == 1
    assert await spool.lease("worker-2", LATER - MINUTE, LATER, 10) == []
    assert len(await spool.lease("worker-2", LATER, LATER + HOUR, 10)) == 1


async def test_recovery_ends_leases_of_held_messages_too(spool: Spool) -> None:
    """A message held during a crash has no owner afterwards, and stays held."""
    await spool.commit(deposit(stored(lease=Lease("worker-1", LATER))))
    await spool.hold(["M1"], "look at it", NOON)
    assert await spool.recover(NOON, []) == 1
    message = await spool.get("M1")
    assert (message.lease, message.state) == (None, State.HELD)


async def test_recovery_without_dead_owners_ends_nothing(spool: Spool) -> None:
    """Mail that nobody holds is not counted as recovered."""
    await spool.commit(deposit(stored()))
    assert await spool.recover(NOON, []) == 0


async def test_an_attempt_is_counted_before_it_is_made(spool: Spool) -> None:
    """Number and next time are recorded first, for the recipients tried and no others."""
    await spool.commit(deposit(stored(to=("a@x.example", "b@x.example"))))
    await spool.begin_attempt("M1", [1], LATER)
    first, second = (await spool.get("M1")).recipients
    assert (first.attempts, first.next_attempt) == (0, NOON)
    assert (second.attempts, second.next_attempt) == (1, LATER)


async def test_a_message_is_due_when_its_first_recipient_is(spool: Spool) -> None:
    """One recipient's long wait doesn't hold up another's next attempt."""
    await spool.commit(deposit(stored(to=("a@x.example", "b@x.example"))))
    await spool.begin_attempt("M1", [0], LATER + DAY)
    await spool.begin_attempt("M1", [1], LATER)
    assert len(await spool.lease("worker-1", LATER, LATER + HOUR, 10)) == 1


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


async def test_a_listing_shows_the_oldest_first(spool: Spool) -> None:
    """Queued and held mail is listed together, by age, and only so much as asked for."""
    for minutes, id_ in ((2, "C"), (0, "A"), (1, "B")):
        await spool.commit(deposit(stored(id_, received=NOON + minutes * MINUTE)))
    await spool.hold(["B"], "", NOON)
    assert [m.id for m in await spool.select(Selection(), LATER)] == ["A", "B", "C"]
    assert [m.id for m in await spool.select(Selection(limit=2), LATER)] == ["A", "B"]


async def test_a_listing_shows_only_the_states_asked_for(spool: Spool) -> None:
    """The queue doesn't show the quarantine, and the quarantine not the queue."""
    await spool.commit(deposit(stored("M1")))
    await spool.commit(quarantined("M2"))
    assert [m.id for m in await spool.select(Selection(), LATER)] == ["M1"]
    in_quarantine = Selection(states=(State.QUARANTINED,))
    assert [m.id for m in await spool.select(in_quarantine, LATER)] == ["M2"]


@pytest.mark.parametrize(
    ("selection", "meant"),
    [
        (Selection(ids=("M2", "NONE")), ["M2"]),
        (Selection(sender="sales@office.example"), ["M1"]),
        (Selection(sender="*@OFFICE.example"), ["M1"]),
        (Selection(sender="office.example"), ["M1"]),
        (Selection(sender="other@office.example"), []),
        (Selection(recipient="*.b.example"), ["M2"]),
        (Selection(recipient="carl@x_y.example"), []),
        (Selection(recipient="*"), ["M1", "M2"]),
        (Selection(recipient="dora@c.example"), ["M2"]),
        (Selection(recipient="c.example"), ["M2"]),
        (Selection(recipient="*@bücher.example"), ["M1"]),
        (Selection(upstream="provider"), ["M2"]),
        (Selection(older_than=timedelta(minutes=30)), ["M1"]),
        (Selection(ids=("M1", "M2"), recipient="*@a.example"), ["M1"]),
    ],
)
async def test_a_listing_can_be_narrowed(
    spool: Spool, selection: Selection, meant: list[str]
) -> None:
    """By ID, sender, recipient, upstream and age, alone or together."""
    first = stored("M1", to=("anna@a.example", "jo@BÜCHER.example", "carl@xzy.example"))
    second = stored(
        "M2", to=("bob@mail.b.example", '"dora"@c.example'), received=NOON + 40 * MINUTE
    )
    second = replace(second, envelope=replace(second.envelope, sender=None))
    await spool.commit(deposit(first))
    await spool.commit(deposit(second))
    await spool.settle(deferred(second, LATER))
    assert [m.id for m in await spool.select(selection, NOON + HOUR)] == meant


async def test_a_recipient_that_has_ended_names_no_message(spool: Spool) -> None:
    """Deleting what waits for one recipient doesn't take another's copy that was never meant."""
    message = stored(to=("done@a.example", "waits@b.example"))
    await spool.commit(deposit(message))
    taken = replace(delivered(message, 0), release=False)
    await spool.settle(replace(taken, recipients=(replace(taken.recipients[0], upstream="a"),)))
    for selection in (Selection(recipient="done@a.example"), Selection(upstream="a")):
        assert await spool.select(selection, LATER) == []
    assert len(await spool.select(Selection(recipient="waits@b.example"), LATER)) == 1


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


def came(id_: str, sender: str, *to: str, at: datetime = NOON) -> Event:
    """How a message came in, as the trace begins."""
    return Event(id_, at, "received", {"session": {}, "sender": sender, "recipients": list(to)})


async def found(spool: Spool, **search: Any) -> str:
    """The IDs of the messages that a search finds, in its order."""
    return " ".join(event.message_id for event in await spool.search(Search(**search)))


@pytest.mark.parametrize(
    ("search", "ids"),
    [
        ({}, "M4 M3 M2 M1"),
        ({"sender": "ANNA@office.example"}, "M2 M1"),
        ({"sender": "*@office.example"}, "M3 M2 M1"),
        ({"sender": "office.example", "limit": 2}, "M3 M2"),
        ({"sender": "a_na@office.example"}, ""),
        ({"sender": "*"}, "M3 M2 M1"),
        ({"recipient": "bert@partner.example"}, "M4 M1"),
        ({"recipient": "*.partner.example"}, "M2"),
        ({"recipient": "jörg@büro.example"}, "M3"),
        ({"recipient": "anna@office.example"}, ""),
        ({"sender": "anna@office.example", "recipient": "carl@partner.example"}, "M1"),
        ({"since": NOON + HOUR}, "M4 M3 M2"),
        ({"until": NOON + HOUR}, "M2 M1"),
        ({"since": NOON + HOUR, "until": NOON + HOUR}, "M2"),
    ],
)
async def test_a_message_is_found_without_its_id(
    spool: Spool, search: dict[str, Any], ids: str
) -> None:
    """By sender, recipient and time, newest first, long after it has gone."""
    await spool.record(
        [
            came("M1", "anna@office.example", "carl@partner.example", "bert@partner.example"),
            came("M2", '"Anna"@office.example', "x@sub.partner.example", at=NOON + HOUR),
            came("M3", "carl@office.example", "jörg@büro.example", at=NOON + 2 * HOUR),
            came("M4", "", '"bert"@partner.example', at=NOON + 3 * HOUR),
            Event("M1", LATER, "attempt", {}),
        ]
    )
    assert await found(spool, **search) == ids


async def test_a_search_reads_as_far_as_it_must(spool: Spool) -> None:
    """One message among thousands that came at the same moment, and in one go."""
    many = [came(f"N{n}", "carl@office.example", "x@partner.example") for n in range(1200)]
    await spool.record([came("M1", "anna@office.example", "x@partner.example"), *many])
    assert await found(spool, sender="anna@office.example") == "M1"
    assert len((await found(spool)).split()) == 1201


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
    await spool.begin_attempt("M1", [0, 1], LATER)
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


async def test_a_long_listing_goes_by_pages(spool: Spool) -> None:
    """Without gap or double, also among messages of one moment."""
    for n in range(7):
        await spool.commit(deposit(stored(f"M{n}", received=NOON + n // 3 * MINUTE)))
    await spool.hold(["M1"], "", NOON)
    whole = await spool.places(Selection(), LATER)
    assert [place.id for place in whole] == [f"M{n}" for n in range(7)]
    assert [m.id for m in await spool.select(Selection(), LATER)] == [p.id for p in whole]
    for start, place in enumerate(whole):
        page = Selection(after=place, limit=2)
        assert await spool.places(page, LATER) == whole[start + 1 : start + 3]
    by_sender = Selection(after=whole[4], sender="*@office.example")
    assert await spool.places(by_sender, LATER) == whole[5:]


async def test_what_waits_is_summed_up_by_hop(spool: Spool) -> None:
    """With the words that are heard most, or the reason why it is held."""
    for n in range(4):
        message = stored(f"M{n}", received=NOON + n * MINUTE)
        await spool.commit(deposit(message))
        if n:
            await spool.settle(deferred(message, LATER))
    await spool.hold(["M1"], "ask Bob", NOON)
    await spool.commit(quarantined("M4"))
    assert await spool.backlogs(words=True) == [
        Backlog("provider", State.QUEUED, 2, NOON + 2 * MINUTE, "451 4.7.1 Greylisted"),
        Backlog("", State.QUEUED, 1, NOON, ""),
        Backlog("provider", State.HELD, 1, NOON + MINUTE, "ask Bob"),
    ]
