"""What `filterrelay check` looks at, each part on its own."""

import asyncio
import pwd
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from cryptography import x509

from filterrelay.app import services_for, spool_of
from filterrelay.chain.instances import signing_keys
from filterrelay.chain.loader import load_plugins
from filterrelay.chain.probing import PATIENCE
from filterrelay.chain.step import Step
from filterrelay.chain.threads import PluginThreads
from filterrelay.cli.addresses import State, addresses, bindable
from filterrelay.cli.common import counted, told
from filterrelay.delivery.connect import Dialing, HostUnavailable, connect
from filterrelay.delivery.conversation import Conversation
from filterrelay.delivery.hops import Hops, dialing_of, direct_upstreams
from filterrelay.errors import FilterRelayError
from filterrelay.mail.endpoint import parse_endpoint
from filterrelay.observe.clock import Clock
from filterrelay.observe.mail_log import why_unwritable
from filterrelay.observe.metrics import Metrics
from filterrelay.plugin.resolver import DnsResolver
from filterrelay.plugin.services import DnsError, Resolver, SecureResolver
from filterrelay.plugin.signing import published
from filterrelay.settings import Filter, Settings, Upstream
from filterrelay.supervisor.lock import is_running
from filterrelay.wire.dkim_key import BadKey, KeyUse, concerns, read_key

_WRONG_CERTIFICATE = (
    "; hosts must call the server what its certificate does, and ca_file must name its "
    "authority if this machine doesn't know it"
)
_NOT_OFFERED = "answers, but offers us no {}: list this machine in its smtpd_authorized_{}_hosts"
_SOON = timedelta(days=14)  # before a certificate's end an operator should hear of it


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at. part: as `plugin`; name: which one; text: what was found.

    waits: the upstream whose mail would have to wait because of it, or empty. starts: whether
    the relay starts although this has failed.
    """

    part: str
    name: str
    state: State
    text: str
    waits: str = ""
    starts: bool = False


async def examine(settings: Settings, clock: Clock) -> list[Check]:
    """Everything that serving depends on, looked at as serving would use it."""
    checks = [*mail_log(settings), *certificate(settings, clock)]
    checks.append(await spool(settings, clock))
    resolver = DnsResolver(
        settings.dns.servers, settings.dns.timeout, clock, validating=settings.dns.validating
    )
    try:
        found = await asyncio.gather(
            plugins(settings, clock, resolver),
            next_hops(settings, resolver),
            dnssec(settings, resolver),
            dkim_keys(settings, resolver),
        )
    finally:
        await resolver.close()
    for part in found:
        checks.extend(part)
    return checks


def listening(settings: Settings) -> Iterable[Check]:
    """Whether each address that is listened on can be had."""
    running = is_running(settings.state_dir)
    for name, address in addresses(settings):
        state, text = bindable(address, running=running)
        yield Check("listener", name, state, f"{address}: {text}")


def account(settings: Settings) -> Iterable[Check]:
    """Whether there is the user that serves, if root starts it."""
    try:
        pwd.getpwnam(settings.user)
    except KeyError:
        why = "there is no such user, whom the relay becomes when root starts it"
        yield Check("user", settings.user, "warning", why)


def mail_log(settings: Settings) -> Iterable[Check]:
    """Whether the mail log can be written; mail doesn't wait for that."""
    where = settings.log.mail_log
    if where and (why := why_unwritable(where)):
        why = f"can't be written: {why}; its lines would be lost"
        yield Check("mail log", where, "warning", why)
    elif where:
        yield Check("mail log", where, "ok", "can be written")


def certificate(settings: Settings, clock: Clock) -> Iterable[Check]:
    """How long the certificate is valid, and for whom; that it fits its key is known already."""
    file = settings.tls.certificate
    if file is None:
        return
    found = x509.load_pem_x509_certificate(file.read_bytes())
    if found.issuer == found.subject:
        why = "is self-signed: clients will warn of it, or refuse it"
        yield Check("certificate", str(file), "warning", why)
    end = found.not_valid_after_utc
    left = end - clock.now()
    state: State = "failed" if left <= timedelta() else "warning" if left < _SOON else "ok"
    verb = "expired" if state == "failed" else "valid until"
    yield Check("certificate", str(file), state, f"{verb} {end:%Y-%m-%d}")


async def spool(settings: Settings, clock: Clock) -> Check:
    """Whether the spool opens."""
    where = str(settings.state_dir)
    try:
        opened = spool_of(settings, None, clock)
        await opened.open()
        depth = await opened.depth()
        await opened.close()
    except (FilterRelayError, OSError) as error:
        return Check("spool", where, "failed", str(error))
    return Check("spool", where, "ok", counted(sum(depth.messages.values())))


async def plugins(settings: Settings, clock: Clock, resolver: Resolver) -> list[Check]:
    """Whether each plugin starts, and what its daemon says. Raises BadPlugins."""
    loaded = load_plugins(settings, clock, Metrics())
    threads: dict[str, PluginThreads] = {}
    services = services_for(settings, clock, resolver, threads)
    lenient = {use.name for use in settings.filter if _does_without(use)}
    lenient |= {use.name for use in settings.observer}
    try:
        return await asyncio.gather(
            *(_plugin(step, services, step.name in lenient) for step in loaded)
        )
    finally:
        for pool in threads.values():
            pool.close()


def _does_without(use: Filter) -> bool:
    """Whether mail flows when this filter fails."""
    return use.on_error == "accept" or use.mode == "shadow"


async def _plugin(step: Step, services: Callable[[Step], Any], lenient: bool) -> Check:
    on_failure: State = "failed"
    starts = False
    text = f"{step.plugin.use} is ready"
    try:
        async with _started(step, services):
            if probe := getattr(step.plugin.instance, "probe", None):
                on_failure, starts = "warning" if lenient else "failed", True
                async with asyncio.timeout(PATIENCE):
                    text = await probe()
    except Warning as warning:
        return Check("plugin", step.name, "warning", str(warning))
    except Exception as error:  # noqa: BLE001  # a stranger's plugin may fail in any way
        return Check("plugin", step.name, on_failure, _said(error), starts=starts)
    return Check("plugin", step.name, "ok", text)


@asynccontextmanager
async def _started(step: Step, services: Callable[[Step], Any]) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        lifespan = step.plugin.hooks.get("lifespan")
        if lifespan is not None:
            given = {"services": services(step)} if lifespan.parameters else {}
            await stack.enter_async_context(lifespan.call(**given))
        yield


def _said(error: Exception) -> str:
    if isinstance(error, TimeoutError) and not str(error):
        return f"no answer within {PATIENCE:g} s"
    return told(error)


async def next_hops(settings: Settings, resolver: SecureResolver) -> list[Check]:
    """Whether each host of each upstream takes a connection, TLS and the login."""
    try:
        Hops(settings.upstream, settings.route, settings.hostname, Metrics(), resolver=resolver)
    except FilterRelayError as error:
        return [Check("upstream", "", "failed", str(error))]
    used = {route.upstream for route in settings.route} | {each.name for each in settings.upstream}
    direct = sorted(used & direct_upstreams(settings.upstream).keys())
    tried = await asyncio.gather(
        *(_upstream(each, settings.hostname, resolver) for each in settings.upstream if each.hosts),
        *(_direct(name, settings.hostname, resolver) for name in direct),
    )
    return [check for checks in tried for check in checks]


async def dnssec(settings: Settings, resolver: DnsResolver) -> list[Check]:
    """Whether the DNS servers can be believed, where DANE is required."""
    strict = [each.name for each in settings.upstream if each.tls == "dane"]
    strict += [route.upstream for route in settings.route if route.tls == "dane"]
    text = "DANE is required, and dns.validating isn't set for servers beyond this machine"
    return [
        Check("dnssec", name, "warning", text, waits=name)
        for name in dict.fromkeys(strict)
        if not resolver.validating
    ]


async def _direct(name: str, hostname: str, resolver: Resolver) -> list[Check]:
    """Whether DNS answers at all, be it that there is nothing: no destination is known yet."""
    try:
        await resolver.lookup(hostname, "A")
    except DnsError as error:
        text = f"direct delivery needs DNS, which gives no answer: {error}"
        return [Check("upstream", name, "warning", text, waits=name)]
    text = "direct delivery: DNS answers; whether port 25 is open outwards shows only in use"
    return [Check("upstream", name, "ok", text)]


async def _upstream(upstream: Upstream, hostname: str, resolver: SecureResolver) -> list[Check]:
    """Each host. Mail waits only when none of them takes it, and it is accepted even then."""
    checks = await asyncio.gather(
        *(_host(upstream, host, hostname, resolver) for host in upstream.hosts)
    )
    if any(check.state == "ok" for check in checks):
        return checks
    return [replace(check, waits=upstream.name) for check in checks]


async def _host(upstream: Upstream, host: str, hostname: str, resolver: SecureResolver) -> Check:
    name = f"{upstream.name} {host}"
    dialing = replace(
        dialing_of(upstream, hostname, resolver=resolver),
        connect_timeout=PATIENCE,
        timeout=PATIENCE,
    )
    try:
        conversation = await _connected(host, dialing)
    except HostUnavailable as unavailable:
        text = unavailable.reply.text
        if ": certificate: " in text:
            text += _WRONG_CERTIFICATE
        return Check("upstream", name, "warning", text)
    tls, offered = conversation.peer.tls, conversation.peer.capabilities
    await conversation.leave()
    if upstream.xclient and not offered.xclient:
        return Check("upstream", name, "warning", _NOT_OFFERED.format("XCLIENT", "xclient"))
    if upstream.xforward and not offered.xforward:
        return Check("upstream", name, "ok", _NOT_OFFERED.format("XFORWARD", "xforward"))
    login = f", logged in as {upstream.username}" if upstream.username else ""
    return Check("upstream", name, "ok", f"answers, TLS: {tls}{login}")


async def _connected(host: str, dialing: Dialing) -> Conversation:
    """A conversation on the first rung of the policy that the host can take."""
    ladder, endpoint = dialing.tls.ladder, parse_endpoint(host, dialing.port)
    rung = ladder[0]
    while True:
        try:
            return await connect(endpoint, 0, dialing, rung)
        except HostUnavailable as unavailable:
            if unavailable.lower not in ladder:
                raise
            rung = unavailable.lower


async def dkim_keys(settings: Settings, resolver: Resolver) -> list[Check]:
    """Whether each signing key is published; unpublished ones don't stop the service."""
    uses = signing_keys(settings)
    return await asyncio.gather(*(_dkim_key(use, resolver) for use in uses))


async def _dkim_key(use: KeyUse, resolver: Resolver) -> Check:
    def check(state: State, text: str) -> Check:
        return Check("dkim", use.record_name, state, text)

    try:
        key = read_key(use.path)
    except BadKey as error:
        return check("failed", str(error))
    found = await published(resolver, use.record_name, key.public)
    text = "; ".join((found.text, *concerns(use.path, key)))
    return check("ok" if found.is_good and text == found.text else "warning", text)
