"""When a message is tried again, and when its sender hears of it."""

from dataclasses import dataclass
from datetime import datetime, timedelta

_JITTER = 0.1  # up and down, so that messages deferred together don't come back together


@dataclass(frozen=True, slots=True)
class RetrySchedule:
    """The times of further attempts: pure functions of what is known of the message.

    queued_at: since when the message is to be delivered. first: until the second
    attempt; it doubles up to longest. warn_after: when the sender is told of the
    delay, zero for never. give_up_after: when mail is returned (RFC 5321 section
    4.5.4.1).
    """

    first: timedelta = timedelta(minutes=15)
    longest: timedelta = timedelta(hours=4)
    warn_after: timedelta = timedelta(hours=4)
    give_up_after: timedelta = timedelta(days=5)

    def next_attempt(self, now: datetime, attempts: int, queued_at: datetime) -> datetime | None:
        """When to try again after that many attempts; None when it is time to give up.

        One attempt falls on the time of the delay notice and one on the end, so
        that neither comes hours late.
        """
        end = queued_at + self.give_up_after
        if now >= end:
            return None
        doublings = min(max(attempts - 1, 0), 30)
        pause = min(self.first * (1 << doublings), self.longest)
        following = now + pause * (1 + _JITTER * _spread(queued_at, attempts))
        for mark in (queued_at + self.warn_after, end):
            if now < mark < following:
                following = mark
        return following

    def warns(self, now: datetime, queued_at: datetime) -> bool:
        """Whether the sender of a message still waiting should have heard of it."""
        return bool(self.warn_after) and now >= queued_at + self.warn_after


def _spread(queued_at: datetime, attempts: int) -> float:
    """A figure between -1 and 1 that differs from message to message and is always the same."""
    return (queued_at.microsecond * 31 + attempts * 7919) % 2001 / 1000 - 1
