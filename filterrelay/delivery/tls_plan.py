"""What one connection shall be: the rung of a policy, and what DNS demands of the host."""

from collections.abc import Sequence
from dataclasses import dataclass

from filterrelay.delivery.dane import Dane, Demand
from filterrelay.delivery.tls import Rung
from filterrelay.delivery.tls_session import Failure
from filterrelay.errors import FilterRelayError
from filterrelay.mail.endpoint import Endpoint
from filterrelay.plugin.services import DnsError


@dataclass
class NoDane(FilterRelayError):
    """DANE can't be kept at this host now, and there is no going on without. reason: in words."""

    reason: str
    failure: Failure


@dataclass(frozen=True, slots=True)
class TlsPlan:
    """A rung, and for DANE what DNS demands.

    Such a demand leaves no lower rung (RFC 7672 section 2.2).
    """

    rung: Rung
    demand: Demand | None = None

    @property
    def proves(self) -> bool:
        """Whether a connection like this is to the server that is meant."""
        return self.rung in (Rung.DANE, Rung.VERIFIED, Rung.IMPLICIT)

    @property
    def tried(self) -> Rung:
        """What was wanted, also where DNS demands it and has nothing to measure by."""
        return self.rung if self.demand is None else Rung.DANE

    @property
    def tlsa(self) -> tuple[str, ...]:
        """The records that the server is measured by, as text."""
        return tuple(map(str, self.demand.records)) if self.demand else ()

    def name_of(self, host: str) -> str:
        """By which name the server is asked for its certificate (RFC 7672 section 8.1)."""
        if self.rung is Rung.DANE and self.demand is not None:
            return self.demand.base
        return host


async def plan_of(
    endpoint: Endpoint, rung: Rung, ladder: Sequence[Rung], dane: Dane | None
) -> TlsPlan:
    """What the rung means for this host. Raises NoDane.

    Without TLSA records that count the next rung is taken; with none that can be used still
    TLS, with any certificate if the policy has such a rung (RFC 7672 section 2.2).
    """
    if rung is not Rung.DANE:
        return TlsPlan(rung)
    assert dane is not None, "who has the policy has the resolver"
    others = ladder[1:]
    try:
        demand = await dane.demand(endpoint)
    except DnsError as failed:
        raise NoDane(f"TLSA look-up: {failed}", Failure.BAD_DNSSEC) from failed
    if demand is None and not others:
        why = "no TLSA record that DNSSEC proves, and DANE is required"
        raise NoDane(why, Failure.NO_TLSA)
    if demand is None:
        return TlsPlan(others[0])
    if demand.records:
        return TlsPlan(Rung.DANE, demand)
    if not others:
        raise NoDane("no TLSA record that can be used", Failure.BAD_TLSA)
    return TlsPlan(Rung.UNVERIFIED if Rung.UNVERIFIED in others else others[0], demand)
