"""The milters of the benchmark, in the order of the table."""

from tests.bench.milters.filterrelay import FilterRelayMilter
from tests.bench.milters.milter import Milter
from tests.bench.milters.opendkim import OpenDkim
from tests.bench.milters.rspamd import Rspamd

MILTERS: dict[str, type[Milter]] = {
    milter.name: milter for milter in (OpenDkim, Rspamd, FilterRelayMilter)
}

__all__ = ["MILTERS", "FilterRelayMilter", "Milter", "OpenDkim", "Rspamd"]
