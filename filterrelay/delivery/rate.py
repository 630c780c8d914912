"""A limit on messages in a time, kept by spacing them."""

import asyncio
import re

_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*/\s*(s|m|h)\Z")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_BURST = 1.0  # seconds' worth that may go at once after a pause


def parse_rate(text: str) -> float:
    """Messages a second, of `100/s`, `600/m` or `5000/h`. Raises ValueError."""
    matched = _RATE.match(text.strip())
    if not matched or not float(matched[1]):
        raise ValueError(f'{text!r} is no rate; write one like "100/s", "600/m" or "5000/h"')
    return float(matched[1]) / _SECONDS[matched[2]]


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
