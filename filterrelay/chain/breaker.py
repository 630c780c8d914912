"""A circuit breaker: after failures in a row a plugin is left alone for a while."""

from collections.abc import Callable

from filterrelay.observe.clock import Clock

FAILURES = 5  # in a row, before it opens
PAUSE = 30.0  # seconds until one call may try again


class Breaker:
    """Closed, then open after FAILURES in a row, half-open after PAUSE seconds.

    changed: told the new state's name, `closed`, `half-open` or `open`.
    """

    def __init__(self, clock: Clock, changed: Callable[[str], None]) -> None:
        """Starts closed."""
        self._clock = clock
        self._changed = changed
        self._failures = 0
        self._opened_at = 0.0
        self.state = "closed"

    def allows(self) -> bool:
        """Whether a call may be made; in half-open only one, until its result is known."""
        if self.state == "closed":
            return True
        if self.state == "open" and self._clock.monotonic() - self._opened_at >= PAUSE:
            self._enter("half-open")
            return True
        return False

    def succeeded(self) -> None:
        """A call went well."""
        self._failures = 0
        if self.state != "closed":
            self._enter("closed")

    def failed(self) -> None:
        """A call failed or took too long."""
        self._failures += 1
        if self.state == "half-open" or (self.state == "closed" and self._failures >= FAILURES):
            self._opened_at = self._clock.monotonic()
            self._enter("open")

    def abandoned(self) -> None:
        """A call was cancelled: it tells nothing, and a half-open trial is given back."""
        if self.state == "half-open":
            self._enter("open")

    def _enter(self, state: str) -> None:
        self.state = state
        self._changed(state)
