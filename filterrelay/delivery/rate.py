"""Limits on messages, or recipients, in a time, kept by spacing them."""

from collections.abc import Sequence

from filterrelay.settings.rate import parse_rate

PATIENCE = 5.0  # seconds that mail waits in memory for its turn; when it is longer, on disk
_BURST = 1.0  # seconds' worth that may go at once after a pause


class RateLimit:
    """Lets so many through a second, first come, first served.

    A token bucket told by one time: when the bucket would be full again (the
    generic cell rate algorithm of ATM Forum TM 4.1). now: in seconds, of a clock that
    never goes back.
    """

    def __init__(self, per_second: float) -> None:
        self._interval = 1 / per_second
        self._burst = max(_BURST, self._interval)
        self._full_at = 0.0

    def delay(self, now: float) -> float:
        """Seconds until the next one may go."""
        return max(0.0, self._full_at + self._interval - self._burst - now)

    def claim(self, now: float, count: int = 1) -> float:
        """Takes so many places together; returns the seconds to wait until their turn.

        It is the turn of the first: many recipients of one message go at once, and what
        comes after them waits the longer.
        """
        delay = self.delay(now)
        self._full_at = max(self._full_at, now) + count * self._interval
        return delay

    def give_back(self, count: int = 1) -> None:
        """Gives places back that were taken for nothing."""
        self._full_at -= count * self._interval

    def room(self, now: float, within: float) -> int:
        """How many more may go until so many seconds have passed."""
        left = now + within + self._burst - max(self._full_at, now)
        return max(0, int(left / self._interval + 1e-6))


def transactions(recipients: int, most: int) -> int:
    """How many it takes for so many recipients, of whom each has so many at most."""
    return -(-recipients // most)


class Rates:
    """The limits that hold together for mail of one next hop.

    messages, recipients: any number of each, which others may share.
    """

    def __init__(
        self, messages: Sequence[RateLimit] = (), recipients: Sequence[RateLimit] = ()
    ) -> None:
        self._messages = messages
        self._recipients = recipients

    @classmethod
    def of(cls, messages: str, recipients: str, processes: int) -> "Rates":
        """Those that the file writes so, a part for each process. Raises ValueError."""
        return cls(
            *(
                [RateLimit(parse_rate(text) / processes)] if text else []
                for text in (messages, recipients)
            )
        )

    def __add__(self, other: "Rates") -> "Rates":
        """Both of them at once."""
        return Rates([*self._messages, *other._messages], [*self._recipients, *other._recipients])

    def delay(self, now: float) -> float:
        """Seconds until the next message may go."""
        return max((each.delay(now) for each in (*self._messages, *self._recipients)), default=0.0)

    def claim(self, now: float, messages: int, recipients: int) -> float:
        """Takes places for transactions and their recipients; the seconds until their turn."""
        waits = [each.claim(now, messages) for each in self._messages]
        waits += [each.claim(now, recipients) for each in self._recipients]
        return max(waits, default=0.0)

    def give_back(self, messages: int, recipients: int) -> None:
        """Gives places back that were claimed for nothing."""
        for each in self._messages:
            each.give_back(messages)
        for each in self._recipients:
            each.give_back(recipients)

    def room(self, now: float) -> int | None:
        """How many messages may go before who waits has to wait on disk; None: any number."""
        limits = (*self._messages, *self._recipients)
        return min((each.room(now, PATIENCE) for each in limits), default=None)
