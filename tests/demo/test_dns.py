"""The demonstration's name server, asked by the relay's own resolver."""

from datetime import timedelta

from filterrelay.demo.dns import name_server
from filterrelay.observe.clock import SystemClock
from filterrelay.plugin.resolver import DnsResolver


async def test_it_answers_from_its_zone_and_knows_nothing_else() -> None:
    """Records, a name without that record, and no such name."""
    async with name_server({("Bank.example", "TXT"): '"v=spf1 -all"'}) as address:
        resolver = DnsResolver([address], timedelta(seconds=5), SystemClock())
        assert list(await resolver.lookup("bank.example", "TXT")) == [b"v=spf1 -all"]
        assert not await resolver.lookup("bank.example", "A")
        assert not await resolver.lookup("elsewhere.example", "TXT")
        await resolver.close()
