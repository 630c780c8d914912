"""What a sender does with one part: whether it may go now, the attempt, and its result."""

import asyncio
import contextlib
import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog

from filterrelay.delivery.attempt import Tried, attempt
from filterrelay.delivery.bodies import Bodies
from filterrelay.delivery.lane import Part
from filterrelay.delivery.retry import RetrySchedule
from filterrelay.delivery.returns import Returns
from filterrelay.delivery.settle import Settler
from filterrelay.delivery.upstream import Outage, Sent, UpstreamLike
from filterrelay.mail.reply import Reply
from filterrelay.observe.clock import Clock
from filterrelay.spool.store import NoSuchMessage, NotQueued, Spool, State

_DETOUR = timedelta(minutes=1)  # until what finds no memory comes again
_FRESH = 1.0  # seconds in a lane after which an operator may have come in between

_log: Any = structlog.get_logger("filterrelay.delivery")


class Sending:
    """Takes parts to their end: a result that is recorded, or back to the spool.

    leaving: is set when delivery ends, and nothing is waited for any more.
    """

    def __init__(
        self,
        spool: Spool,
        bodies: Bodies,
        returns: Returns,
        settler: Settler,
        schedule: RetrySchedule,
        clock: Clock,
        leaving: asyncio.Event,
    ) -> None:
        self._spool = spool
        self._bodies = bodies
        self._returns = returns
        self._settler = settler
        self._schedule = schedule
        self._clock = clock
        self._leaving = leaving

    async def deliver(self, part: Part) -> None:
        """Has the part's recipients tried, or waits or gives up what stands against it."""
        flight, upstream = part.flight, part.lane.upstream
        if self._clock.now() >= flight.until:
            _log.warning("lease_lost", message_id=flight.message.id)
            return
        outage = upstream.outage()
        if outage is not None and not self._explains(outage):
            if flight.fresh or not await self._outlast(outage):
                self._sit_out(outage, part)
                return
            outage = None
        began = self._clock.monotonic()
        try:
            tried = await self._tried(upstream, part, outage)
        except NoSuchMessage:
            _log.info("deleted_meanwhile", message_id=flight.message.id)
            return
        except NotQueued:
            _log.info("set_aside_meanwhile", message_id=flight.message.id)
            self._returns.as_it_is(part)
            return
        except Exception as fault:  # noqa: BLE001  # a seam: what fails each time must end, too
            _log.exception("delivery_failed", message_id=flight.message.id)
            reply = Reply(451, "4.3.0", f"The relay failed: {type(fault).__name__}")
            tried = _all(part, Sent([reply] * len(part.recipients), "", answered=False))
        if tried is None:
            self._returns.untried(part, self._clock.now() + _DETOUR)
            return
        part.settling = True
        await self._settler.settle(
            flight.message,
            part.hop,
            tried,
            self._clock.monotonic() - began,
            body=flight.body,
            release=flight.settles(),
        )

    async def _tried(
        self, upstream: UpstreamLike, part: Part, outage: Outage | None
    ) -> Sequence[Tried] | None:
        """The attempt's result; None for want of memory. Raises NoSuchMessage, NotQueued."""
        known = part.answer
        if outage is not None:
            known = outage.sent(len(part.recipients))
            part.lane.learn(known)
        if known is not None:
            await self._ask_whether_queued(part)
            return _all(part, known)
        body = await self._bodies.of(part)
        if body is None:
            return None
        if part.flight.fresh:
            await self._ask_whether_queued(part)
        else:
            await self._begin(part)
        part.trying = True
        tried = await attempt(upstream, part.flight.message.envelope, part.recipients, body)
        part.lane.learn(tried[-1].sent)
        return tried

    async def _begin(self, part: Part) -> None:
        """Records the attempt, and when the following one would be."""
        indexes = [stored.index for stored in part.recipients]
        await self._spool.begin_attempt(part.flight.message.id, indexes, self.after(part))
        part.counted = True

    async def _ask_whether_queued(self, part: Part) -> None:
        """Raises when the part has been deleted or set aside while it waited."""
        if part.flight.fresh and self._clock.monotonic() - part.since <= _FRESH:
            return
        if await self._spool.state(part.flight.message.id) is not State.QUEUED:
            raise NotQueued(part.flight.message.id)

    def after(self, part: Part) -> datetime:
        """When to try again should this attempt end without a result."""
        now = self._clock.now()
        attempts = max((r.attempts for r in part.recipients), default=0) + 1
        following = self._schedule.next_attempt(now, attempts, part.flight.message.queued_at)
        return following or now + self._schedule.first

    def _explains(self, outage: Outage) -> bool:
        """Whether it counts as the part's attempt that the next hop can't be reached.

        So notices and bounces come in time however deep the queue is; and once the hop is back,
        the part comes early. Only a successor may know of another hop.
        """
        return not (math.isinf(outage.age) or self._leaving.is_set())

    async def _outlast(self, outage: Outage) -> bool:
        """Waits until a host may be tried again; whether that came before the end of delivery."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(outage.left):
                await self._leaving.wait()
        return not self._leaving.is_set()

    def _sit_out(self, outage: Outage, part: Part) -> None:
        """Lets the part wait on disk, not in memory, until a host may be tried again."""
        wait = 0.0 if self._leaving.is_set() else outage.left
        due = self._clock.now() + timedelta(seconds=wait)
        self._returns.untried(part, due, str(outage.reply))


def _all(part: Part, sent: Sent) -> list[Tried]:
    """One transaction's result for the whole part."""
    return [Tried(part.recipients, sent)]
