"""The parts of delivery as the configuration has them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from filterrelay.delivery.addresses import HostLookup
from filterrelay.delivery.direct import DirectSites, Ourselves
from filterrelay.delivery.hops import direct_upstreams
from filterrelay.delivery.https import Https
from filterrelay.delivery.mta_sts import MtaSts, PolicyFiles
from filterrelay.delivery.protection import Protections
from filterrelay.delivery.report import Reports, Submit
from filterrelay.delivery.retry import RetrySchedule
from filterrelay.delivery.route import RouteHook, Routes
from filterrelay.delivery.tls_report import Send, Sender, TlsReports
from filterrelay.delivery.tls_tally import TlsTally
from filterrelay.mail.address import parse_mailbox
from filterrelay.mail.endpoint import parse_endpoint
from filterrelay.observe.clock import Clock
from filterrelay.observe.metrics import Metrics
from filterrelay.plugin.services import SecureResolver
from filterrelay.settings import Settings


@dataclass(frozen=True, slots=True)
class Destinations:
    """What is known of the destinations of direct delivery.

    https: who is asked for policies, and given reports. tally: how connections came out.
    """

    resolver: SecureResolver
    https: Https
    sts: MtaSts
    tally: TlsTally


@asynccontextmanager
async def known_destinations(
    settings: Settings, resolver: SecureResolver, name: str, clock: Clock
) -> AsyncIterator[Destinations]:
    """The destinations as a process sees them. name: the process's, for a file of its own."""
    https = Https(HostLookup(resolver).places)
    files = PolicyFiles(settings.state_dir / "mta-sts")
    await asyncio.to_thread(files.sweep, clock.now())
    sts = MtaSts(resolver, https, files, clock)
    tally = TlsTally(settings.state_dir / "tls-reports", name, clock)
    try:
        yield Destinations(resolver, https, sts, tally)
    finally:
        await sts.close()


@asynccontextmanager
async def reporting_tls(
    settings: Settings, known: Destinations, submit: Send, clock: Clock, metrics: Metrics
) -> AsyncIterator[None]:
    """Counts what the destinations are told of their TLS, and tells them."""
    if not settings.delivery.tls_reports:
        yield
        return
    contact = settings.delivery.postmaster or f"postmaster@{settings.hostname}"
    reports = TlsReports(
        settings.state_dir / "tls-reports",
        Sender(settings.hostname, contact),
        known.resolver,
        known.https,
        submit,
        clock,
        metrics,
    )
    task = asyncio.create_task(reports.run(known.tally))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


def routes_of(settings: Settings, hook: RouteHook | None, known: Destinations) -> Routes:
    """The way of each recipient. hook: asked before the file."""
    smtp = [each for each in settings.listener if each.kind == "smtp"]
    ourselves = Ourselves(settings.hostname, [parse_endpoint(each.address) for each in smtp])
    tally = known.tally if settings.delivery.tls_reports else None
    direct = {
        name: DirectSites(
            known.resolver,
            HostLookup(known.resolver, config.allow_networks),
            ourselves,
            config.port,
            protections=Protections(config, known.sts, tally),
        )
        for name, config in direct_upstreams(settings.upstream).items()
    }
    return Routes(
        settings.route,
        [each.name for each in settings.upstream],
        settings.upstream[0].name if settings.upstream else "",
        hook,
        direct=direct,
        destinations=settings.destination,
    )


def reports_of(settings: Settings, submit: Submit, clock: Clock) -> Reports:
    """Who writes bounces and delay notices."""
    delivery = settings.delivery
    return Reports(
        settings.hostname,
        submit,
        clock,
        language=delivery.language,
        author=delivery.report_from,
        postmaster=parse_mailbox(delivery.postmaster) if delivery.postmaster else None,
    )


def schedule_of(settings: Settings) -> RetrySchedule:
    """When mail is tried again, and given up."""
    delivery = settings.delivery
    return RetrySchedule(
        first=delivery.retry,
        longest=delivery.retry_max,
        warn_after=delivery.warn_after,
        give_up_after=delivery.give_up_after,
    )


def keeps_requiretls(settings: Settings) -> bool:
    """Whether each way on may be fit for mail that asks for REQUIRETLS (RFC 8689).

    Direct delivery is, unless it is without TLS: where a destination proves nothing, such
    mail bounces. A smart host must be one that proves its name.
    """
    named = {each.name: each for each in settings.upstream} | direct_upstreams(settings.upstream)
    ways = [(each, each.tls) for each in settings.upstream]
    ways += [
        (named[rule.upstream], rule.tls or named[rule.upstream].tls)
        for rule in settings.route
        if rule.upstream in named
    ]
    return all(
        tls != "none" if upstream.protocol == "mx" else tls in ("required", "implicit", "dane")
        for upstream, tls in ways
    )
