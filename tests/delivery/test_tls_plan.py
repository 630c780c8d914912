"""What a rung means for a host, by what DNS says of it."""

from collections.abc import Sequence

import pytest

from filterrelay.delivery.dane import Dane
from filterrelay.delivery.tls import Rung
from filterrelay.delivery.tls_plan import NoDane, TlsPlan, plan_of
from filterrelay.delivery.tls_session import Failure
from filterrelay.mail.endpoint import Endpoint
from filterrelay.observe.clock import SystemClock
from filterrelay.plugin.testing import FakeResolver

MX = Endpoint("mx.example", 25)
HOST = "mx.host.example"  # where that name is an alias to
TLSA = f"_25._tcp.{HOST}"
GOOD, USELESS = bytes((3, 1, 1)) + bytes(32), bytes((1, 1, 1)) + bytes(32)
DANE_ONLY = (Rung.DANE,)
STS = (Rung.DANE, Rung.VERIFIED)
ANY = (Rung.DANE, Rung.VERIFIED, Rung.UNVERIFIED, Rung.PLAIN)


async def planned(ladder: Sequence[Rung], *records: bytes, failing: Sequence[str] = ()) -> TlsPlan:
    """The plan for the first rung, when these are the TLSA records."""
    zone: dict[tuple[str, str], Sequence[str | bytes]] = {
        (MX.host, "CNAME"): [HOST],
        (HOST, "A"): ["192.0.2.1"],
        (TLSA, "TLSA"): records,
    }
    dane = Dane(FakeResolver(zone, failing, insecure=()), SystemClock())
    return await plan_of(MX, Rung.DANE, ladder, dane)


@pytest.mark.parametrize(
    ("ladder", "record", "rung", "name"),
    [
        (DANE_ONLY, GOOD, Rung.DANE, HOST),
        (STS, GOOD, Rung.DANE, HOST),
        (ANY, GOOD, Rung.DANE, HOST),
        (STS, USELESS, Rung.VERIFIED, MX.host),
        (ANY, USELESS, Rung.UNVERIFIED, MX.host),
        (STS, None, Rung.VERIFIED, MX.host),
        (ANY, None, Rung.VERIFIED, MX.host),
    ],
)
async def test_dns_says_which_rung_it_is(
    ladder: Sequence[Rung], record: bytes | None, rung: Rung, name: str
) -> None:
    """And by which name the certificate is asked for."""
    plan = await planned(ladder, *([record] if record else []))
    assert (plan.rung, plan.name_of(MX.host)) == (rung, name)
    assert (plan.demand is None) is (record is None)
    assert plan.tried is (rung if record is None else Rung.DANE)


@pytest.mark.parametrize(
    ("ladder", "records", "failing", "failure"),
    [
        (DANE_ONLY, [], (), Failure.NO_TLSA),
        (DANE_ONLY, [USELESS], (), Failure.BAD_TLSA),
        (ANY, [], (TLSA,), Failure.BAD_DNSSEC),
        (ANY, [], (HOST,), Failure.BAD_DNSSEC),
    ],
)
async def test_what_cannot_be_known_or_kept_stops_the_mail(
    ladder: Sequence[Rung], records: list[bytes], failing: Sequence[str], failure: Failure
) -> None:
    """Each has its name for the reports."""
    with pytest.raises(NoDane) as no_dane:
        await planned(ladder, *records, failing=failing)
    assert no_dane.value.failure is failure


async def test_other_rungs_ask_nobody() -> None:
    """They mean the same everywhere."""
    assert await plan_of(MX, Rung.PLAIN, (Rung.PLAIN,), None) == TlsPlan(Rung.PLAIN)
