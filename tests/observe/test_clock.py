"""The machine's own clock."""

from datetime import UTC

from filterrelay.observe.clock import SystemClock


def test_the_time_is_in_utc_and_durations_never_negative() -> None:
    """Times carry their zone."""
    clock = SystemClock()
    assert clock.now().tzinfo is UTC
    assert clock.monotonic() <= clock.monotonic()
