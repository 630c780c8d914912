"""A limit on messages in a time, kept by spacing them."""

import asyncio

_BURST = 1.0  # seconds' worth that may go at once after a pause


class RateLimit:
    """Lets messages through at that rate, first come, first served.

    A token bucket told by one time: when the bucket would be full again (the
    generic cell rate algorithm of ATM Forum TM 4.1).
    """

    def __init__(self, per_second: float) -> None:
        self._interval = 1 / per_second
        self._burst = max(_BURST, self._interval)
        self._full_at = 0.0

    def claim(self, now: float) -> float:
        """Takes one place; returns the seconds to wait until its turn.

        now: in seconds, of a clock that never goes back.
        """
        self._full_at = max(self._full_at, now) + self._interval
        return max(0.0, self._full_at - self._burst - now)

    async def wait(self) -> None:
        """Returns when the next message may go."""
        pause = self.claim(asyncio.get_running_loop().time())
        if pause:
            await asyncio.sleep(pause)
