"""A message put together of fields and pieces is the one that was sent."""

import asyncio
from typing import Any

import pytest

from filterrelay.doors import replies
from filterrelay.doors.admission import Admission
from filterrelay.doors.milter.content import HEADER_BLOCK, MilterContent
from filterrelay.doors.policy import Counters, DoorPolicy, Reception
from filterrelay.mail.reply import Reply
from filterrelay.observe.budget import MemoryBudget
from filterrelay.observe.clock import SystemClock
from filterrelay.observe.metrics import Metrics
from filterrelay.settings import Limits, Listener
from tests.doors.conftest import RememberingIntake

FIELD = b"A: 1\r\n\tfolded\r\n"


def content(memory: int = 1 << 20, **limits: Any) -> MilterContent:
    """A message that begins."""
    policy = DoorPolicy(Listener(kind="milter", address="unix:/m"), Limits(**limits), "a")
    reception = Reception(
        policy,
        RememberingIntake(),
        MemoryBudget(memory),
        Admission(1).for_worker(0),
        Counters(Metrics(), "milter"),
        SystemClock(),
        asyncio.get_running_loop(),
    )
    return MilterContent(reception, announced=None)


async def test_a_body_may_be_cut_anywhere() -> None:
    """Between a CR and its LF, too; the last line gets the end that it lacks."""
    for cut in range(12):
        message = content()
        assert message.add_field(FIELD)
        assert message.add_body(b"one\r\ntwo\r\n3"[:cut])
        await message.complete(b"one\r\ntwo\r\n3"[cut:])
        assert message.take() == FIELD + b"\r\none\r\ntwo\r\n3\r\n"


async def test_many_fields_are_looked_at_before_the_last_has_come() -> None:
    """A header without end is no way to fill the memory."""
    message = content(header_size=HEADER_BLOCK)
    while message.fault is None:
        message.add_field(b"A: " + b"x" * 1000 + b"\r\n")
    assert message.fault == replies.HEADER_TOO_LARGE
    assert message.came < 3 * HEADER_BLOCK


@pytest.mark.parametrize(
    ("body", "told"), [(b"a\rb\r\n", replies.BARE_LINE_END), (b"a\0b\r\n", replies.HAS_NUL)]
)
async def test_what_no_door_takes_is_refused_here_as_well(body: bytes, told: Reply) -> None:
    """Mail gets the same verdict through each door."""
    message = content()
    message.add_field(FIELD)
    message.add_body(body)
    assert message.fault == told


async def test_memory_is_waited_for() -> None:
    """Where there is none at once, it is said so, and had as soon as there is some."""
    message = content(memory=1000)
    budget = message.reservation._budget
    others = [budget.reservation() for _ in range(2)]
    assert all(each.try_grow(1000) for each in others)
    assert not message.add_body(b"x" * 500)
    waiting = asyncio.create_task(message.make_room())
    await asyncio.sleep(0)
    assert not waiting.done()
    for each in others:
        each.release()
    await waiting
    assert message.fault is None
    assert message.reservation.octets >= 500
    message.release()
    assert budget.used == 0
