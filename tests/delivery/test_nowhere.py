"""Mail that has its answer goes nowhere."""

import pytest

from filterrelay.delivery.nowhere import Nowhere
from filterrelay.plugin.testing import an_envelope


async def test_nothing_holds_it_up_and_nothing_is_sent() -> None:
    """Whoever tries to has made a mistake."""
    nowhere = Nowhere()
    assert nowhere.outage() is None
    assert nowhere.room() is None
    assert await nowhere.admit(1) is None
    assert await nowhere.probe()
    with pytest.raises(AssertionError):
        await nowhere.send(an_envelope(), (), b"")
