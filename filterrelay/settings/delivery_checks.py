"""The checks of what has to do with delivery: upstreams, routes, destinations."""

from collections.abc import Iterator
from ipaddress import ip_address

from filterrelay.mail.address import BadAddress, parse_mailbox
from filterrelay.mail.endpoint import parse_endpoint
from filterrelay.mail.hop import SEPARATORS
from filterrelay.settings.complaints import Complaint, no_such, repeated
from filterrelay.settings.models import Dns, Settings
from filterrelay.settings.outbound import Destination, Upstream
from filterrelay.settings.rate import parse_rate
from filterrelay.settings.routes import DIRECT, DISCARD, REJECT, refusal_of

_SOCKET_TLS = (None, "none", "opportunistic")  # the policies that a Unix socket can keep
_DIRECT_ONLY = ("port", "allow_networks", "mta_sts", "dane")
_NO_DNSSEC = (
    "DANE needs DNS servers that check DNSSEC: name one on this machine in dns.servers, "
    "or say dns.validating = true if the way to yours is safe"
)


def upstreams(settings: Settings) -> Iterator[Complaint]:
    """What is wrong with [[upstream]]."""
    for index, upstream in enumerate(settings.upstream):
        for key, why in _upstream(upstream):
            yield ("upstream", index, key), why
        if upstream.tls == "dane" and not _may_validate(settings.dns):
            yield ("upstream", index, "tls"), _NO_DNSSEC


def _upstream(upstream: Upstream) -> Iterator[tuple[str, str]]:
    yield from _name(upstream.name, "an upstream's name")
    if upstream.name in (DISCARD, REJECT):
        yield "name", f"{upstream.name!r} is no upstream's name: a route means something else by it"
    yield from _direct(upstream) if upstream.protocol == "mx" else _not_direct(upstream)
    for host in upstream.hosts:
        try:
            parse_endpoint(host, default_port=25)
        except ValueError as error:
            yield "hosts", str(error)
    if _has_socket(upstream):
        if upstream.protocol != "lmtp":
            yield "hosts", "only LMTP goes over a Unix socket"
        if upstream.tls not in _SOCKET_TLS:
            yield "tls", _no_socket_tls(upstream.tls)
    for key in ("xforward", "xclient"):
        if getattr(upstream, key) and upstream.protocol != "smtp":
            yield key, "is for the next hop of a proxy listener, which is spoken to by smtp"
    yield from _rates(upstream)
    yield from _upstream_login(upstream)
    yield from _upstream_files(upstream)


def _direct(upstream: Upstream) -> Iterator[tuple[str, str]]:
    if upstream.hosts:
        yield "hosts", "direct delivery has none: DNS names them"
    if upstream.username:
        yield "username", "direct delivery logs in nowhere: any domain's servers would be told"


def _not_direct(upstream: Upstream) -> Iterator[tuple[str, str]]:
    if upstream.name == DIRECT:
        yield "name", f'{DIRECT!r} is direct delivery: give it protocol = "mx", or another name'
    if not upstream.hosts:
        yield "hosts", "is missing: `host:port`, in the order of failover"
    for key in _DIRECT_ONLY:
        if key in upstream.model_fields_set:
            yield key, 'is for direct delivery, protocol = "mx", only'


def _has_socket(upstream: Upstream) -> bool:
    return any(host.startswith("unix:") for host in upstream.hosts)


def _no_socket_tls(policy: str | None) -> str:
    return f"{policy} can't be had on a Unix socket, and isn't needed there: write \"none\""


def _may_validate(dns: Dns) -> bool:
    """Whether the servers' word on DNSSEC may be believed, as far as the file tells."""
    if dns.validating is not None:
        return dns.validating
    try:
        hosts = [parse_endpoint(server, default_port=53).host for server in dns.servers]
        return all(ip_address(host).is_loopback for host in hosts)
    except ValueError:
        return True  # what is wrong with that server is said elsewhere


def _upstream_login(upstream: Upstream) -> Iterator[tuple[str, str]]:
    has_password = upstream.password is not None or upstream.password_file is not None
    if has_password and not upstream.username:
        yield "username", "the password needs a username beside it"
    if upstream.username and not has_password:
        yield "username", "a username needs password_file or password beside it"
    if upstream.username and upstream.tls == "opportunistic":
        yield "tls", 'anybody could have the password: a login needs "required" or "implicit"'


def _upstream_files(upstream: Upstream) -> Iterator[tuple[str, str]]:
    for key in ("ca_file", "certificate", "key"):
        file = getattr(upstream, key)
        if file is not None and not file.is_file():
            yield key, f"there is no file {file}"
    if (upstream.certificate is None) is not (upstream.key is None):
        yield "certificate", "certificate and key belong together: the other one is missing"


def _name(name: str, what: str) -> Iterator[tuple[str, str]]:
    if not name or any(letter in SEPARATORS or not letter.isprintable() for letter in name):
        yield "name", f"{name!r} can't be {what}: it must be there, and have none of {SEPARATORS}"


def _rates(limited: Upstream | Destination) -> Iterator[tuple[str, str]]:
    for key in ("rate", "recipient_rate"):
        if text := getattr(limited, key):
            try:
                parse_rate(text)
            except ValueError as error:
                yield key, str(error)


def reports(settings: Settings) -> Iterator[Complaint]:
    """What is wrong with the addresses in [delivery]."""
    for key in ("report_from", "postmaster"):
        text = getattr(settings.delivery, key)
        try:
            if text and not parse_mailbox(text).domain:
                yield ("delivery", key), f"{text!r} has no @domain"
        except BadAddress as error:
            yield ("delivery", key), f"{text!r} is no address: {error}"


def destinations(settings: Settings) -> Iterator[Complaint]:
    """What is wrong with [[destination]]."""
    yield from repeated(
        "destination",
        ((("destination", i), one.name) for i, one in enumerate(settings.destination)),
    )
    for index, destination in enumerate(settings.destination):
        for key, why in (
            *_name(destination.name, "a destination's name"),
            *_rates(destination),
        ):
            yield ("destination", index, key), why


def routes(settings: Settings) -> Iterator[Complaint]:
    """What is wrong with [[route]]."""
    known = {upstream.name for upstream in settings.upstream}
    sockets = {upstream.name for upstream in settings.upstream if _has_socket(upstream)}
    for index, rule in enumerate(settings.route):
        if rule.upstream not in (DIRECT, DISCARD, REJECT, *known):
            yield ("route", index, "upstream"), no_such("upstream", rule.upstream, known)
        if rule.upstream in sockets and rule.tls not in _SOCKET_TLS:
            yield ("route", index, "tls"), _no_socket_tls(rule.tls)
        if rule.tls == "dane" and not _may_validate(settings.dns):
            yield ("route", index, "tls"), _NO_DNSSEC
        if rule.reply and rule.upstream != REJECT:
            yield ("route", index, "reply"), f"only a route to {REJECT} has one"
        try:
            refusal_of(rule)
        except ValueError as error:
            yield ("route", index, "reply"), str(error)
