"""What every store can tell an operator of its mail, and of what has gone."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from filterrelay.spool.selection import Search, Selection
from filterrelay.spool.store import (
    Backlog,
    Event,
    Spool,
    State,
)

from .deposits import (
    HOUR,
    LATER,
    MINUTE,
    NOON,
    deferred,
    delivered,
    deposit,
    quarantined,
    stored,
)


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


def came(id_: str, sender: str, *to: str, at: datetime = NOON, queue_id: str = "") -> Event:
    """How a message came in, as the trace begins."""
    session = {"queue_id": queue_id}
    return Event(
        id_, at, "received", {"session": session, "sender": sender, "recipients": list(to)}
    )


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
        ({"queue_id": "4B7D2"}, "M2"),
        ({"queue_id": "M2"}, ""),
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
            came(
                "M2",
                '"Anna"@office.example',
                "x@sub.partner.example",
                at=NOON + HOUR,
                queue_id="4B7D2",
            ),
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
