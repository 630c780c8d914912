"""The circuit breaker's states."""

from datetime import timedelta

from filterrelay.chain.breaker import FAILURES, PAUSE, Breaker
from filterrelay.plugin.testing import FakeClock


def opened(clock: FakeClock, states: list[str]) -> Breaker:
    """A breaker that has just opened."""
    breaker = Breaker(clock, states.append)
    for _ in range(FAILURES):
        breaker.failed()
    return breaker


def test_it_opens_after_failures_in_a_row_only() -> None:
    """A success in between starts the count anew."""
    states: list[str] = []
    breaker = Breaker(FakeClock(), states.append)
    for _ in range(FAILURES - 1):
        breaker.failed()
    breaker.succeeded()
    breaker.failed()
    assert breaker.allows()
    assert states == []


def test_it_lets_one_call_try_after_the_pause() -> None:
    """Half-open is one call, and the others still wait."""
    clock, states = FakeClock(), list[str]()
    breaker = opened(clock, states)
    assert not breaker.allows()
    clock.advance(timedelta(seconds=PAUSE))
    assert breaker.allows()
    assert not breaker.allows()
    breaker.succeeded()
    assert breaker.allows()
    assert states == ["open", "half-open", "closed"]


def test_a_cancelled_trial_is_given_back() -> None:
    """A trial that told nothing doesn't keep the breaker half-open for ever."""
    clock, states = FakeClock(), list[str]()
    breaker = opened(clock, states)
    clock.advance(timedelta(seconds=PAUSE))
    assert breaker.allows()
    breaker.abandoned()
    assert breaker.allows()
