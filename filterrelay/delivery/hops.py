"""From the ways that mail goes to the connections that it goes over."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain

from filterrelay import settings
from filterrelay.delivery.addresses import HostLookup, system_places
from filterrelay.delivery.connect import Dialing, Login
from filterrelay.delivery.dane import Dane
from filterrelay.delivery.rate import Rates
from filterrelay.delivery.route import Way
from filterrelay.delivery.shaped import Shaped, least
from filterrelay.delivery.site import Site
from filterrelay.delivery.slots import Slots, most_slots
from filterrelay.delivery.tls import MAY_DANE, PROVED, Contexts, tls_policy
from filterrelay.delivery.tls_session import Note, TlsSession
from filterrelay.delivery.upstream import Upstream, UpstreamLike
from filterrelay.errors import FilterRelayError
from filterrelay.mail.endpoint import Endpoint, parse_endpoint
from filterrelay.mail.hop import Hop
from filterrelay.observe.beginnings import begin_upstreams
from filterrelay.observe.clock import SystemClock
from filterrelay.observe.metrics import Metrics
from filterrelay.plugin.services import SecureResolver
from filterrelay.settings.routes import DIRECT


@dataclass
class BadUpstream(FilterRelayError):
    """This next hop can't be used as it is configured."""

    upstream: str
    reason: str


def direct_upstreams(configured: Sequence[settings.Upstream]) -> dict[str, settings.Upstream]:
    """Those of direct delivery by name; `mx` is there also when the file doesn't have it."""
    ours = settings.Upstream(name=DIRECT, protocol="mx")
    return {DIRECT: ours} | {each.name: each for each in configured if each.protocol == "mx"}


def dialing_of(
    config: settings.Upstream,
    hostname: str,
    tls: str = "",
    resolver: SecureResolver | None = None,
    contexts: Contexts | None = None,
) -> Dialing:
    """How the upstream's hosts are spoken to. tls: the policy in place of its own.

    resolver: who knows the addresses of direct delivery, and TLSA records. contexts: as
    `tls_policy` has them. Raises BadUpstream, UnsupportedTls.
    """
    places = system_places
    if config.protocol == "mx":
        assert resolver is not None, "direct delivery needs DNS"
        places = HostLookup(resolver, config.allow_networks).places
    password = config.password.get_secret_value() if config.password else ""
    try:
        policy = tls_policy(config, tls, contexts)
    except (ValueError, OSError) as bad:
        raise BadUpstream(config.name, str(bad)) from bad
    return Dialing(
        hostname=hostname,
        tls=policy,
        login=Login(config.username, password) if config.username else None,
        connect_timeout=config.connect_timeout.total_seconds(),
        timeout=config.timeout.total_seconds(),
        places=places,
        lmtp=config.protocol == "lmtp",
        ignored=config.ignore_extensions,
        proved=config.protocol != "mx" or (tls or config.tls) in PROVED,
        dane=Dane(resolver, SystemClock()) if resolver else None,
    )


class Hops:
    """Makes next hops as mail comes for them, and those of the file at the start.

    processes: how many share the rates, a part for each. destinations: whose limits hold
    beside the upstream's. All sites of direct delivery together keep to its rates, and
    share the slots for connections. resolver: who knows the addresses of direct delivery,
    and TLSA records. note: is told how direct delivery's connections are protected. Raises
    BadUpstream, UnsupportedTls.
    """

    def __init__(
        self,
        configured: Sequence[settings.Upstream],
        routes: Sequence[settings.RouteRule],
        hostname: str,
        metrics: Metrics,
        processes: int = 1,
        resolver: SecureResolver | None = None,
        note: Note | None = None,
        *,
        destinations: Sequence[settings.Destination] = (),
    ) -> None:
        self._note = note
        self._resolver = resolver
        self._configured = direct_upstreams(configured) | {each.name: each for each in configured}
        self._hostname = hostname
        self._metrics = metrics
        used = [*(each.name for each in configured), *(rule.upstream for rule in routes)]
        begin_upstreams(metrics, {name for name in used if name in self._configured})
        self._slots = Slots(most_slots())
        self._destinations = {each.name: each for each in destinations}
        self._rates = {
            name: _rates(name, each, processes) for name, each in self._configured.items()
        }
        self._shape_rates = {each.name: _rates(each.name, each, processes) for each in destinations}
        self._dialings: dict[tuple[str, str], Dialing] = {}
        self._contexts: dict[str, Contexts] = {}
        self._fixed: dict[tuple[str, str], Upstream] = {}
        for name, tls in chain(
            ((each.name, "") for each in configured),
            ((rule.upstream, rule.tls) for rule in routes if rule.tls),
        ):
            if self._configured[name].protocol == "mx":
                self._ready(self._configured[name], tls)
            else:
                self._named(name, tls)

    def open(self, way: Way) -> UpstreamLike:
        """The next hop that is on this way."""
        hop = way.hop
        if way.site is not None:
            return self._direct(hop, way.site)
        shared = self._named(hop.upstream, hop.tls)
        if not hop.shape:
            return shared
        return Shaped(self._destinations[hop.shape], shared, self._shape_rates[hop.shape])

    def named(self, name: str) -> Upstream:
        """The upstream of that name in the file, which mail for it from the spool shares."""
        return self._named(name, "")

    def close(self) -> None:
        """Says goodbye on all connections to the file's upstreams: no mail goes there any more."""
        for upstream in self._fixed.values():
            upstream.close()

    def _direct(self, hop: Hop, site: Site) -> Upstream:
        """A site of direct delivery, with its destination's limits where those are smaller."""
        config, rates = self._configured[hop.upstream], self._rates[hop.upstream]
        if hop.shape:
            shape = self._destinations[hop.shape]
            rates += self._shape_rates[hop.shape]
            config = config.model_copy(
                update={
                    "connections": least(config.connections, shape.connections),
                    "recipients": least(config.recipients, shape.recipients),
                }
            )
        hosts = [[Endpoint(host, config.port) for host in group] for group in site.hosts]
        dialing = self._dialing(hop.upstream, hop.tls)
        return Upstream(config, hosts, dialing, self._metrics, rates, self._slots)

    def lacks_eight_bit(self, hop: Hop) -> bool:
        """Whether the upstream of the file that was spoken to last took mail of 7 bits only."""
        upstream = self._fixed.get((hop.upstream, hop.tls))
        offered = upstream.offered if upstream is not None else None
        return offered is not None and not offered.eight_bit

    def _named(self, name: str, tls: str) -> Upstream:
        """The upstream of the file; all mail for it shares one."""
        known = self._fixed.get((name, tls))
        if known is None:
            config, dialing = self._configured[name], self._dialing(name, tls)
            try:
                hosts = [parse_endpoint(host, dialing.port) for host in config.hosts]
            except ValueError as bad:
                raise BadUpstream(name, str(bad)) from bad
            if config.protocol != "lmtp" and any(host.is_unix for host in hosts):
                raise BadUpstream(name, "SMTP goes over TCP, not over a Unix socket")
            alone = [[host] for host in hosts]
            known = Upstream(config, alone, dialing, self._metrics, self._rates[name])
            self._fixed[name, tls] = known
        return known

    def _ready(self, direct: settings.Upstream, tls: str) -> None:
        """Reads all certificates that destinations may come to need: none fails with mail."""
        self._dialing(direct.name, tls)
        if (tls or direct.tls) == "opportunistic":
            self._dialing(direct.name, MAY_DANE)

    def _dialing(self, name: str, tls: str) -> Dialing:
        """Made once for each policy."""
        known = self._dialings.get((name, tls))
        if known is None:
            config = self._configured[name]
            contexts = self._contexts.setdefault(name, {})
            dialing = dialing_of(config, self._hostname, tls, self._resolver, contexts)
            known = replace(dialing, note=self._noting(config))
            self._dialings[name, tls] = known
        return known

    def _noting(self, config: settings.Upstream) -> Note:
        """Counts each connection; of a smart host's no destination is told."""
        tell = self._note if config.protocol == "mx" else None

        def note(session: TlsSession) -> None:
            labels = config.name, session.version, session.result
            self._metrics.tls_sessions.labels(*labels).inc()
            if tell is not None:
                tell(session)

        return note


def _rates(name: str, limited: settings.Upstream | settings.Destination, processes: int) -> Rates:
    try:
        return Rates.of(limited.rate, limited.recipient_rate, processes)
    except ValueError as bad:
        raise BadUpstream(name, str(bad)) from bad
