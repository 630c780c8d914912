"""What single values can't show: names that must exist, files that must fit, open relays."""

import contextlib
import ssl
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificates

from filterrelay.errors import why_unreadable
from filterrelay.mail.address import BadAddress, parse_mailbox
from filterrelay.mail.endpoint import Endpoint, parse_endpoint
from filterrelay.settings.complaints import Complaint, no_such, repeated
from filterrelay.settings.delivery_checks import destinations, reports, routes, upstreams
from filterrelay.settings.models import Listener, PluginUse, Settings
from filterrelay.settings.route_checks import route_warnings
from filterrelay.settings.section import Network
from filterrelay.settings.toml_lines import Path as KeyPath

_BROAD_V4 = 16  # bits: a public network with fewer is more than one organisation's
_BROAD_V6 = 32


def cross_check(settings: Settings, left_out: Collection[str] = frozenset()) -> Iterator[Complaint]:
    """What is wrong between the keys of completed settings: each key's path and the reason.

    left_out: sections of the file that the settings lack, being faulty; what is
    missing because of that isn't complained of.
    """
    for check, others in _CHECKS:
        if not any(section in left_out for section in others):
            yield from check(settings)


def _hostname(settings: Settings) -> Iterator[Complaint]:
    try:
        parse_mailbox(f"postmaster@{settings.hostname}")
    except BadAddress:
        yield ("hostname",), f"{settings.hostname!r} is no host name"


def _plugins(settings: Settings) -> Iterator[tuple[KeyPath, PluginUse]]:
    for section in ("auth", "filter", "signer", "observer"):
        for index, use in enumerate(getattr(settings, section)):
            yield (section, index), use


def _unique_names(settings: Settings) -> Iterator[Complaint]:
    yield from repeated(
        "listener", ((("listener", i), one.name) for i, one in enumerate(settings.listener))
    )
    yield from repeated(
        "upstream", ((("upstream", i), one.name) for i, one in enumerate(settings.upstream))
    )
    yield from repeated("plugin", ((path, use.name) for path, use in _plugins(settings)))
    addresses = Counter(one.address for one in settings.listener)
    for index, listener in enumerate(settings.listener):
        if addresses[listener.address] > 1 and not listener.address.endswith(":0"):
            yield (
                ("listener", index, "address"),
                f"several listeners have the address {listener.address}",
            )
    metrics = settings.metrics.address
    if metrics in addresses and not metrics.endswith(":0"):
        yield ("metrics", "address"), f"a listener has the address {metrics}, too"


def _tls_files(settings: Settings) -> Iterator[Complaint]:
    """That the certificate and the key are there and belong together, when they are named."""
    certificate, key = settings.tls.certificate, settings.tls.key
    if certificate is None or key is None:
        if certificate is not None:
            yield ("tls", "certificate"), "its key is missing: set key in [tls]"
        if key is not None:
            yield ("tls", "key"), "its certificate is missing: set certificate in [tls]"
        return
    readable = True
    for name, file in (("certificate", certificate), ("key", key)):
        try:
            file.read_bytes()
        except OSError as error:
            readable = False
            yield ("tls", name), f"{file} can't be read: {why_unreadable(error)}"
    if readable:
        yield from _misfit(certificate, key)


def _misfit(certificate: Path, key: Path) -> Iterator[Complaint]:
    """Why the pair can't serve, if it can't."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key, password=lambda: b"")
    except ssl.SSLError as error:
        yield from _fault_in(certificate, key, error)


def _fault_in(certificate: Path, key: Path, error: ssl.SSLError) -> Iterator[Complaint]:
    """Which of the two is to blame for the error, and for what."""
    faulty = False
    try:
        load_pem_x509_certificates(certificate.read_bytes())
    except ValueError:
        faulty = True
        yield ("tls", "certificate"), f"{certificate} holds no certificate in PEM form"
    try:
        load_pem_private_key(key.read_bytes(), None)
    except TypeError:
        faulty = True
        yield ("tls", "key"), f"{key} is encrypted; it must be there without a passphrase"
    except (ValueError, UnsupportedAlgorithm):
        faulty = True
        yield ("tls", "key"), f"{key} holds no private key in PEM form"
    if error.reason == "KEY_VALUES_MISMATCH":
        yield ("tls", "certificate"), f"{certificate} was not made for the key {key}"
    elif not faulty:
        why = f"{certificate} and {key} can't be used: {error.reason or error}"
        yield ("tls", "certificate"), why


def _listeners(settings: Settings) -> Iterator[Complaint]:
    upstreams = {upstream.name for upstream in settings.upstream}
    for index, listener in enumerate(settings.listener):
        for key, why in _listener(listener, settings, upstreams):
            yield ("listener", index, key), why


def _listener(
    listener: Listener, settings: Settings, upstreams: Iterable[str]
) -> Iterator[tuple[str, str]]:
    with contextlib.suppress(ValueError):  # of an address that is told of elsewhere
        endpoint = parse_endpoint(listener.address)
        yield from _proxies(listener, endpoint)
        yield from _unheeded(listener, endpoint)
    if listener.tls != "none" and (settings.tls.certificate is None or settings.tls.key is None):
        yield "tls", f"{listener.tls} needs certificate and key in [tls]"
    if listener.auth != "none":
        if listener.tls == "none":
            yield "auth", 'passwords need TLS: set tls = "starttls" or "implicit"'
        if not settings.auth:
            yield "auth", f"{listener.auth} needs an [[auth]] section: who may log in"
    yield from _listener_kind(listener, settings, upstreams)


def _unheeded(listener: Listener, endpoint: Endpoint) -> Iterator[tuple[str, str]]:
    """What decides nothing there, though somebody has written it."""
    said = listener.model_fields_set
    if not endpoint.is_unix:
        for key in said & {"mode", "group"}:
            yield (
                key,
                "only a Unix socket has one; who may connect to a port is xclient_from's part",
            )
    if listener.kind != "milter" and "quarantine" in said and listener.quarantine == "hold":
        yield "quarantine", "only a milter's mail server can hold mail: here it is always own"


def _proxies(listener: Listener, endpoint: Endpoint) -> Iterator[tuple[str, str]]:
    """A PROXY header says who the client is: not everybody may be believed."""
    if listener.proxy_from and not listener.proxy_protocol:
        yield "proxy_from", "nobody sends PROXY headers here: set proxy_protocol = true, too"
    if listener.proxy_protocol and not listener.proxy_from and not _is_local(endpoint):
        yield (
            "proxy_protocol",
            "whoever reaches the port could pose as any client: "
            "set proxy_from to the networks of your load balancers",
        )


def _is_local(endpoint: Endpoint) -> bool:
    """Whether only this machine can connect there."""
    try:
        return endpoint.is_unix or ip_address(endpoint.host).is_loopback
    except ValueError:
        return endpoint.host == "localhost"


def _listener_kind(
    listener: Listener, settings: Settings, upstreams: Iterable[str]
) -> Iterator[tuple[str, str]]:
    if listener.kind != "smtp" and not listener.xclient_from:
        yield (
            "xclient_from",
            f"nobody could use this {listener.kind}: name its mail server's network",
        )
    match listener.kind:
        case "smtp":
            if not (settings.upstream or settings.route):
                yield "kind", "smtp needs an [[upstream]] or a [[route]]: where accepted mail goes"
            if listener.upstream:
                yield "upstream", "an smtp listener has none; use a [[route]] instead"
        case "proxy":
            yield from _passage(listener, settings, upstreams)
        case "milter":
            for key in ("tls", "auth", "relay_domains", "client_in_received"):
                if getattr(listener, key) not in ((), "none", False):
                    yield key, "a milter listener has none: that is the mail server's part"
            if listener.upstream and listener.upstream not in upstreams:
                yield "upstream", no_such("upstream", listener.upstream, upstreams)
            if listener.quarantine == "own" and not (settings.upstream or settings.route):
                yield "quarantine", "own needs an [[upstream]]: where mail goes that is released"


def _passage(
    listener: Listener, settings: Settings, upstreams: Iterable[str]
) -> Iterator[tuple[str, str]]:
    """A proxy listener's way on."""
    by_name = {each.name: each for each in settings.upstream}
    if listener.relay_domains:
        yield "relay_domains", "a proxy listener has none: that is the mail server's part"
    if not listener.upstream:
        yield "upstream", "a proxy listener needs the name of its upstream"
    elif listener.upstream not in by_name:
        yield "upstream", no_such("upstream", listener.upstream, upstreams)
    elif by_name[listener.upstream].protocol != "smtp":
        yield "upstream", "a proxy passes mail on by smtp, and to nothing else"
    elif listener.address in by_name[listener.upstream].hosts:
        why = f"{listener.upstream!r} is this listener itself: mail would go in circles"
        yield "upstream", why


def _filters(settings: Settings) -> Iterator[Complaint]:
    listeners = {listener.name for listener in settings.listener}
    for index, one in enumerate(settings.filter):
        for place, name in enumerate(one.applies_to):
            if name not in listeners:
                yield ("filter", index, "applies_to", place), no_such("listener", name, listeners)


def _addresses(settings: Settings) -> Iterator[Complaint]:
    for index, listener in enumerate(settings.listener):
        yield from _endpoint(("listener", index, "address"), listener.address, None)
    for section, service in (("metrics", settings.metrics), ("console", settings.console)):
        if service.address:
            yield from _endpoint((section, "address"), service.address, None)
    for index, server in enumerate(settings.dns.servers):
        yield from _name_server(("dns", "servers", index), server)


def _name_server(path: KeyPath, text: str) -> Iterator[Complaint]:
    try:
        endpoint = parse_endpoint(text, 53)
    except ValueError as error:
        yield path, str(error)
        return
    try:
        ip_address(endpoint.host)
    except ValueError:
        yield path, f"{text!r} is no IP address; a name server's name can't be asked for"


def _spool(settings: Settings) -> Iterator[Complaint]:
    if not settings.spool.url.startswith(("sqlite:///", "postgresql://")):
        yield (
            ("spool", "url"),
            "must begin with sqlite:/// or postgresql://: what was accepted must outlast a stop",
        )


def _endpoint(path: KeyPath, text: str, default_port: int | None) -> Iterator[Complaint]:
    try:
        parse_endpoint(text, default_port)
    except ValueError as error:
        yield path, str(error)


def _schedule(settings: Settings) -> Iterator[Complaint]:
    delivery = settings.delivery
    if delivery.retry > delivery.retry_max:
        yield ("delivery", "retry"), "is longer than retry_max"
    if delivery.warn_after > delivery.give_up_after:
        yield ("delivery", "warn_after"), "is longer than give_up_after"
    if settings.limits.message_size > settings.limits.in_flight_memory:
        yield ("limits", "message_size"), "is more than in_flight_memory allows all messages"


# Each check, and the sections besides its own that it takes to be complete.
_CHECKS: tuple[tuple[Callable[[Settings], Iterator[Complaint]], tuple[str, ...]], ...] = (
    (_hostname, ()),
    (_unique_names, ()),
    (_tls_files, ()),
    (_addresses, ()),
    (_listeners, ("tls", "auth", "upstream")),
    (upstreams, ()),
    (routes, ("upstream",)),
    (destinations, ()),
    (reports, ()),
    (_filters, ("listener",)),
    (_spool, ()),
    (_schedule, ()),
)


def warnings(settings: Settings) -> list[str]:
    """What works but is dangerous, or does nothing yet, a sentence each."""
    found = []
    if "console" in settings.model_fields_set and settings.console.address:
        found.append("[console]: there is no console yet; nothing answers there")
    for listener in settings.listener:
        found += [f"listener {listener.name}: {why}" for why in _openings(listener)]
    for upstream in settings.upstream:
        if upstream.username and upstream.tls == "none":
            found.append(
                f"upstream {upstream.name}: its password may cross the network in plain text "
                'unless tls = "required"'
            )
    found += route_warnings(settings)
    for file, what in _secret_files(settings):
        if _world_readable(file):
            found.append(f"{what} {file} can be read by every user of this machine (chmod 640)")
    return found


def _openings(listener: Listener) -> Iterator[str]:
    """Whom it trusts that it may not want to; relaying is a mail server's part, if it has one."""
    relay = "OPEN RELAY: " if listener.kind == "smtp" else ""
    trusted = "may send to anybody" if relay else "counts as your own, whose mail is signed"
    for network in listener.trusted_networks:
        if _is_broad(network):
            yield f"{relay}anybody in {network} {trusted} (trusted_networks)"
    for network in listener.proxy_from if listener.trusted_networks else ():
        if _is_broad(network):
            yield f"{relay}anybody in {network} may pose as a trusted client (proxy_from)"
    for network in listener.xclient_from:
        if _is_broad(network):
            yield f"{relay}anybody in {network} may pose as any client (xclient_from)"
    if relay and any(pattern.means_everybody for pattern in listener.relay_domains):
        yield f"{relay}anybody may send to anybody (relay_domains)"


def _is_broad(network: Network) -> bool:
    """Whether it holds more of the internet than one organisation."""
    if network.prefixlen == 0:
        return True
    match network:
        case IPv4Network():
            return network.prefixlen < _BROAD_V4 and not network.is_private
        case IPv6Network():
            return network.prefixlen < _BROAD_V6 and not network.is_private


def _secret_files(settings: Settings) -> Iterator[tuple[Path, str]]:
    if settings.tls.key is not None:
        yield settings.tls.key, "the private key"
    for upstream in settings.upstream:
        if upstream.password_file is not None:
            yield upstream.password_file, "the password file"
    if any(one.password is not None and one.password_file is None for one in settings.upstream):
        yield settings.source.file, "the configuration file with a password in it,"


def _world_readable(file: Path) -> bool:
    try:
        return bool(file.stat().st_mode & 0o004)
    except OSError:
        return False
