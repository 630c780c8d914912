"""The sections that say where mail goes, and how it is tried again."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from filterrelay.plugin.options import Duration, Secret, at_least
from filterrelay.settings.section import Network, Pattern, Section

IgnorableExtension = Literal[
    "pipelining", "chunking", "binarymime", "8bitmime", "smtputf8", "dsn", "size"
]
TlsPolicyName = Literal["none", "opportunistic", "required", "implicit", "dane"]


class Upstream(Section):
    """A next hop: hosts in the order of failover, and how to speak with them."""

    name: str
    """What routes, the logs and the metrics call it."""
    hosts: tuple[str, ...] = ()
    """`host:port`, in the order of failover; none for mx. lmtp also takes `unix:/path`."""
    protocol: Literal["smtp", "lmtp", "mx"] = "smtp"
    """What is spoken there; mx: direct delivery to the servers that DNS names."""
    tls: TlsPolicyName = "opportunistic"
    """required: a verified certificate or no mail, the default beside a username;
    opportunistic: encrypted if it can be; dane: as the host's TLSA records say, or no mail."""
    username: str = ""
    """Whom to log in as; empty for nobody. A login needs tls required or implicit, or none."""
    password: Secret | None = None
    """The password; better in a file."""
    password_file: Path | None = None
    """A file whose first line is the password."""
    connections: int = Field(20, ge=1)
    """Connections at once from each worker, kept and reused."""
    rate: str = ""
    """Messages in a time from all workers together: `100/s`, `0.5/s`, `600/m`, `500/d`."""
    recipient_rate: str = ""
    """Recipients in a time from all workers together, written alike."""
    recipients: int = Field(100, ge=1)
    """Recipients a transaction; more go in several."""
    connection_messages: int = Field(1000, ge=1)
    """Messages over one connection, then a new one is made."""
    connection_age: Annotated[Duration, at_least("1s")] = timedelta(minutes=5)
    """How long one connection is used."""
    ignore_extensions: tuple[IgnorableExtension, ...] = ()
    """What the servers offer and don't master, such as `chunking`; it isn't used."""
    xforward: bool = False
    """Whether a proxy listener's client is told of with XFORWARD. Mail from the queue has none
    that the next hop would have to know."""
    xclient: bool = False
    """Whether we pose as a proxy listener's client with XCLIENT; so the next hop's rules for
    clients hold. It must list our address in its smtpd_authorized_xclient_hosts."""
    ca_file: Path | None = None
    """Authorities to trust instead of the system's."""
    certificate: Path | None = None
    """The certificate chain that we show as a client, as a PEM file."""
    key: Path | None = None
    """Its private key."""
    minimum_version: Literal["1.2", "1.3"] = "1.2"
    """The oldest TLS version that is spoken."""
    mta_sts: bool = True
    """mx only: whether destinations' MTA-STS policies are kept (RFC 8461)."""
    dane: bool = True
    """mx only: whether TLSA records are kept where DNS answers securely (RFC 7672)."""
    port: int = Field(25, ge=1, le=65535)
    """mx only: the servers' port."""
    allow_networks: tuple[Network, ...] = ()
    """mx only: private and loopback networks that mail may be delivered to nevertheless."""
    connect_timeout: Annotated[Duration, at_least("100ms")] = timedelta(seconds=30)
    """How long connecting, TLS and the greeting may take."""
    timeout: Annotated[Duration, at_least("100ms")] = timedelta(minutes=5)
    """How long a reply may take (RFC 5321 section 4.5.3.2)."""


class RouteRule(Section):
    """Which mail goes to which upstream: what matches all that is said here; the first wins."""

    recipients: tuple[Pattern, ...] = ()
    """`*@partner.example`, `*.partner.example` or whole addresses; none means everybody."""
    senders: tuple[Pattern, ...] = ()
    """The same of the envelope's sender."""
    logins: tuple[str, ...] = ()
    """Who logged in; `*` is everybody who did."""
    upstream: str
    """An upstream's name; `mx`: direct delivery; `discard`: it is thrown away; `reject`: it is
    refused at the door."""
    tls: TlsPolicyName | None = None
    """The TLS policy for this mail, in place of the upstream's."""
    reply: str = ""
    """For reject: what the client is told, as `550 5.1.1 This mailbox is closed`."""


class Destination(Section):
    """Limits for some destinations' mail, beside those of the upstream that it goes through."""

    name: str
    """What the queue, the logs and the metrics call it."""
    domains: tuple[Pattern, ...] = Field(min_length=1)
    """The recipients' domains, or of direct delivery their mail servers': `partner.example`,
    `*.partner.example`."""
    connections: int | None = Field(None, ge=1)
    """Transactions at once from each worker."""
    rate: str = ""
    """Messages in a time from all workers together: `100/s`, `600/m`."""
    recipient_rate: str = ""
    """Recipients in a time from all workers together."""
    recipients: int | None = Field(None, ge=1)
    """Recipients a transaction."""


class Delivery(Section):
    """The retry schedule and its reports."""

    retry: Annotated[Duration, at_least("1s")] = timedelta(minutes=15)
    """Until the second attempt; it doubles with each further one."""
    retry_max: Duration = timedelta(hours=4)
    """The longest time between two attempts."""
    warn_after: Duration = timedelta(hours=4)
    """When the sender is told of a delay."""
    give_up_after: Annotated[Duration, at_least("1m")] = timedelta(days=5)
    """When mail is returned to its sender."""
    language: Literal["en", "ru"] = "en"
    """The language of bounces and delay notices."""
    report_from: str = ""
    """The address in their From field; MAILER-DAEMON at the hostname when not said."""
    postmaster: str = ""
    """Who is told of a bounce that can't be delivered; empty for nobody."""
    tls_reports: bool = True
    """Whether destinations that ask for it get a daily report on TLS (RFC 8460)."""
    drain: Duration = timedelta(seconds=30)
    """How long sessions and deliveries under way may take to finish after SIGTERM."""
