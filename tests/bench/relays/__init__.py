"""The relays of the benchmark, in the order of the table."""

from tests.bench.relays.filterrelay import FilterRelay, FilterRelayFilters
from tests.bench.relays.haraka import Haraka
from tests.bench.relays.postfix import Postfix
from tests.bench.relays.relay import Relay

RELAYS: dict[str, type[Relay]] = {
    relay.name: relay for relay in (Postfix, Haraka, FilterRelay, FilterRelayFilters)
}

__all__ = ["RELAYS", "FilterRelay", "FilterRelayFilters", "Haraka", "Postfix", "Relay"]
