"""What a sender does with one part: whether it may go now, the attempt, and its result."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog

from filterrelay.delivery.attempt import Tried, attempt
from filterrelay.delivery.bodies import Bodies
from filterrelay.delivery.lane import Flight, Part
from filterrelay.delivery.retry import RetrySchedule
from filterrelay.delivery.returns import Returns
from filterrelay.delivery.settle import Settler
from filterrelay.delivery.upstream import Outage, Sent
from filterrelay.errors import FilterRelayError
from filterrelay.mail.downgrade import seven_bit
from filterrelay.mail.reply import NO_MEMORY, Reply
from filterrelay.observe.clock import Clock
from filterrelay.spool.store import (
    NoSuchMessage,
    NotQueued,
    Spool,
    SpoolFull,
    StoredMessage,
)

_DETOUR = timedelta(minutes=1)  # until what finds no memory, or no disk, comes again
_GROWTH = 2  # what quoted-printable and base64 at most make of an octet, rounded up
_FRESH = 1.0  # seconds in a lane after which an operator may have come in between

SignAgain = Callable[[StoredMessage, bytes], Awaitable[bytes]]  # what has other bytes now

_log: Any = structlog.get_logger("filterrelay.delivery")


class Sending:
    """Takes parts to their end: a result that is recorded, or back to the spool.

    leaving: is set when delivery ends, and nothing is waited for any more. sign: signs
    what had to be converted; without it that goes out with its signatures broken.
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
        sign: SignAgain | None = None,
    ) -> None:
        self._spool = spool
        self._bodies = bodies
        self._returns = returns
        self._settler = settler
        self._schedule = schedule
        self._clock = clock
        self._leaving = leaving
        self._sign = sign

    async def deliver(self, part: Part) -> None:
        """Has the part's recipients tried, or waits or gives up what stands against it."""
        flight, upstream = part.flight, part.lane.upstream
        if self._has_lost(flight):
            return
        outage = await upstream.admit(len(part.recipients))
        if outage is not None and not self._explains(outage, part):
            self._sit_out(outage, part)
            return
        if self._has_lost(flight):  # its turn may have come late
            if outage is None:
                upstream.leave()
            return
        began = self._clock.monotonic()
        try:
            tried = await self._result(part, outage, began)
        except asyncio.CancelledError:
            await self._settle_so_far(part, began)
            raise
        finally:
            if outage is None:
                upstream.leave()
        if tried is not None:
            part.settling = True
            await self._settle(part, tried, began, release=flight.settles())

    async def _result(
        self, part: Part, outage: Outage | None, began: float
    ) -> Sequence[Tried] | None:
        """What the attempt comes to, as far as it isn't settled yet.

        None when there was none, and the part has gone back.
        """
        message_id = part.flight.message.id
        try:
            tried = await self._tried(part, outage, began)
        except NoSuchMessage:
            _log.info("deleted_meanwhile", message_id=message_id)
            return None
        except NotQueued:
            _log.info("taken_back_meanwhile", message_id=message_id)
            self._returns.as_it_is(part)
            return None
        except SpoolFull as full:
            _log.error("attempt_not_recorded", message_id=message_id, reason=str(full))
            tried = None
        except Exception as fault:  # noqa: BLE001  # a seam: what fails each time must end, too
            _log.exception("delivery_failed", message_id=message_id)
            rest = part.untried()
            reply = Reply(451, "4.3.0", f"The relay failed: {type(fault).__name__}")
            return [*part.tried, Tried(rest, Sent([reply] * len(rest), "", answered=False))]
        if tried is None:
            self._returns.untried(part, self._clock.now() + _DETOUR)
        return tried

    async def _settle_so_far(self, part: Part, began: float) -> None:
        """Writes down who has the message already: whatever comes, they mustn't get it again."""
        if part.tried:
            await self._settle(part, part.tried, began, release=False)
            part.recipients, part.tried = part.untried(), []

    async def _settle(
        self, part: Part, tried: Sequence[Tried], began: float, *, release: bool
    ) -> None:
        flight = part.flight
        flight.left -= await self._settler.settle(
            flight.message,
            part.hop,
            tried,
            self._clock.monotonic() - began,
            body=flight.body,
            release=release,
            reason=part.reason,
        )
        if not flight.left:
            _log.debug("removed", message_id=flight.message.id)
        if any(each.sent.unreached for each in tried):
            part.lane.missed = True

    def _has_lost(self, flight: Flight) -> bool:
        """Whether the message may be another process's by now."""
        if self._clock.now() < flight.until:
            return False
        _log.warning("lease_lost", message_id=flight.message.id)
        return True

    async def _tried(
        self, part: Part, outage: Outage | None, began: float
    ) -> Sequence[Tried] | None:
        """The same; None for want of memory. Raises NoSuchMessage, NotQueued, SpoolFull."""
        known = part.answer
        if outage is not None:
            known = outage.sent(len(part.recipients))
            part.lane.hear_of(outage)
        if known is not None:
            await self._look(part)
            return _all(part, known)
        body = await self._bodies.of(part)
        if body is None:
            return None
        if part.flight.fresh:
            await self._look(part)
        else:
            await self._begin(part)
        part.trying = True
        upstream, envelope = part.lane.upstream, part.flight.message.envelope
        convert = partial(self._converted, part.flight, body)
        async for each in attempt(upstream, envelope, part.recipients, body, convert):
            part.tried.append(each)
            part.lane.learn(each.sent)
            if part.untried() and all(one.is_quiet for one in part.tried):
                await self._settle_so_far(part, began)
        return part.tried

    async def _converted(self, flight: Flight, body: bytes) -> bytes | Reply:
        """The body in 7 bits, signed anew; itself when there is nothing to convert.

        Done in a thread, because a big one would hold up the others.
        """
        if not await self._bodies.more_of(flight, len(body) * _GROWTH):
            return NO_MEMORY
        converted = await asyncio.to_thread(seven_bit, body)
        if converted is body or self._sign is None:
            return converted
        try:
            signed = await self._sign(flight.message, converted)
        except FilterRelayError as failed:
            _log.error("not_signed_again", message_id=flight.message.id, reason=str(failed))
            return Reply(451, "4.3.0", "The relay can't sign the converted message now")
        _log.info(
            "converted", message_id=flight.message.id, reason="the next hop takes 7 bits only"
        )
        return signed

    async def _begin(self, part: Part) -> None:
        """Records the attempt, and when the following one would be. Raises as `_look`."""
        message_id, recipients = part.flight.message.id, part.recipients
        begun = await self._spool.begin_attempt(message_id, recipients, self.after(part))
        _narrow(part, begun)
        part.counted = True

    async def _look(self, part: Part) -> None:
        """Leaves to the spool whom an operator has sent elsewhere while the part waited.

        Raises NoSuchMessage or NotQueued when nobody is left to be tried.
        """
        if part.flight.fresh and self._clock.monotonic() - part.since <= _FRESH:
            return
        _narrow(part, await self._spool.as_leased(part.flight.message.id, part.recipients))

    def after(self, part: Part) -> datetime:
        """When to try again should this attempt end without a result."""
        now = self._clock.now()
        attempts = max((r.attempts for r in part.recipients), default=0) + 1
        following = self._schedule.next_attempt(now, attempts, part.flight.message.queued_at)
        return following or now + self._schedule.first

    def _explains(self, outage: Outage, part: Part) -> bool:
        """Whether it counts as the part's attempt that nothing is tried.

        So notices and bounces come in time however deep the queue is; and once the hop takes
        mail again, the part comes early. Only a successor may know of another hop. A rate
        doesn't concern the part, unless its sender is to hear of it.
        """
        if outage.why == "rate":
            return self._is_late(part)
        return not self._leaving.is_set()

    def _is_late(self, part: Part) -> bool:
        """Whether the part's time is up, or its sender should know of the delay and doesn't."""
        now, queued_at = self._clock.now(), part.flight.message.queued_at
        if self._schedule.next_attempt(now, 0, queued_at) is None:
            return True
        return self._schedule.warns(now, queued_at) and not all(r.warned for r in part.recipients)

    def _sit_out(self, outage: Outage, part: Part) -> None:
        """Lets the part wait on disk, not in memory, until it may be its turn."""
        wait = 0.0 if self._leaving.is_set() else outage.left
        due = self._clock.now() + timedelta(seconds=wait)
        self._returns.untried(part, due, str(outage.reply))


def _narrow(part: Part, waiting: Collection[int]) -> None:
    """Has the part be for these alone. Raises NotQueued when that is nobody."""
    if len(waiting) < len(part.recipients):
        part.recipients = [stored for stored in part.recipients if stored.index in waiting]
        if not waiting:
            raise NotQueued(part.flight.message.id)


def _all(part: Part, sent: Sent) -> list[Tried]:
    """One transaction's result for the whole part, the same for each who is left in it."""
    return [Tried(part.recipients, replace(sent, replies=sent.replies[: len(part.recipients)]))]
