"""What every store keeps to when work is handed out, and taken up."""

from dataclasses import replace

import pytest

from filterrelay.spool.store import (
    Lease,
    NoSuchMessage,
    NotQueued,
    RecipientState,
    Settlement,
    Spool,
    State,
)

from .deposits import (
    DAY,
    HOUR,
    LATER,
    MINUTE,
    NOON,
    deferred,
    delivered,
    deposit,
    stored,
)


async def test_an_attempt_at_a_deleted_message_is_refused(spool: Spool) -> None:
    """What an operator deleted after it was leased is not sent any more."""
    with pytest.raises(NoSuchMessage):
        await spool.begin_attempt("NONE", stored().recipients, LATER)


async def test_an_attempt_at_a_held_message_is_refused(spool: Spool) -> None:
    """What an operator has set aside is neither sent nor counted as tried."""
    await spool.commit(deposit(stored()))
    await spool.lease("worker-1", NOON, LATER, 10)
    await spool.hold(["M1"], "look at it", NOON)
    with pytest.raises(NotQueued):
        await spool.begin_attempt("M1", stored().recipients, LATER)
    with pytest.raises(NotQueued):
        await spool.as_leased("M1", stored().recipients)
    assert (await spool.get("M1")).recipients[0].attempts == 0
    with pytest.raises(NoSuchMessage):
        await spool.as_leased("NONE", stored().recipients)


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
    await spool.begin_attempt("M1", stored().recipients, NOON + HOUR)
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
    await spool.begin_attempt("M1", stored().recipients, LATER)
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
    message = stored(to=("a@x.example", "b@x.example"))
    await spool.commit(deposit(message))
    assert await spool.begin_attempt("M1", message.recipients[1:], LATER) == {1}
    first, second = (await spool.get("M1")).recipients
    assert (first.attempts, first.next_attempt) == (0, NOON)
    assert (second.attempts, second.next_attempt) == (1, LATER)


async def test_a_message_is_due_when_its_first_recipient_is(spool: Spool) -> None:
    """One recipient's long wait doesn't hold up another's next attempt."""
    message = stored(to=("a@x.example", "b@x.example"))
    await spool.commit(deposit(message))
    await spool.begin_attempt("M1", message.recipients[:1], LATER + DAY)
    await spool.begin_attempt("M1", message.recipients[1:], LATER)
    assert len(await spool.lease("worker-1", LATER, LATER + HOUR, 10)) == 1


async def test_an_attempt_begins_for_nobody_who_was_sent_elsewhere(spool: Spool) -> None:
    """Redirected since it was leased, a message is due for its new hop, and wasn't tried."""
    await spool.commit(deposit(stored()))
    (leased,) = await spool.lease("worker-1", NOON, LATER, 10)
    assert await spool.as_leased("M1", leased.recipients) == {0}
    await spool.redirect(["M1"], "backup", NOON + MINUTE)
    assert await spool.as_leased("M1", leased.recipients) == frozenset()
    assert await spool.begin_attempt("M1", leased.recipients, LATER) == frozenset()
    await spool.settle(Settlement("M1", ()))
    (again,) = await spool.lease("worker-2", NOON + MINUTE, LATER, 10)
    assert (again.recipients[0].upstream, again.recipients[0].attempts) == ("backup", 0)
    assert await spool.begin_attempt("M1", again.recipients, LATER) == {0}
    await spool.redirect(["M1"], "", NOON + MINUTE)
    assert await spool.begin_attempt("M1", again.recipients, LATER) == frozenset()


async def test_an_attempt_begins_for_nobody_who_has_ended(spool: Spool) -> None:
    """Who has had the message from another meanwhile doesn't get it again."""
    message = stored(to=("a@x.example", "b@x.example"))
    await spool.commit(deposit(message))
    await spool.settle(replace(delivered(message, 0), release=False))
    assert await spool.as_leased("M1", message.recipients) == {1}
    assert await spool.begin_attempt("M1", message.recipients, LATER) == {1}
    ended, waiting = (await spool.get("M1")).recipients
    assert (ended.state, ended.attempts, waiting.attempts) == (RecipientState.DELIVERED, 1, 1)
