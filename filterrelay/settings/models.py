"""filterrelay.toml as frozen values; `settings.file.load` reads and validates it.

Every key has a default except the listeners. Paths are absolute once loaded.
"""

from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr

from filterrelay.mail.address import AddressPattern
from filterrelay.plugin.options import Duration, Secret, Size, at_least
from filterrelay.settings.problems import Source


class Section(BaseModel):
    """The base of all sections: frozen, unknown keys refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, use_attribute_docstrings=True
    )


def _pattern(value: Any) -> Any:
    return AddressPattern(value) if isinstance(value, str) else value


def _network(value: Any) -> Any:
    return ip_network(value, strict=False) if isinstance(value, str) else value


Pattern = Annotated[AddressPattern, BeforeValidator(_pattern)]
Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(_network)]


class Limits(Section):
    """What a client can make grow, bounded."""

    message_size: Annotated[Size, at_least("1 B")] = 50 * 1024**2
    """The largest message, announced with SIZE."""
    header_size: Size = 1024**2
    """The largest header section of a message; a larger one is answered 552 5.3.4."""
    header_fields: int = Field(1000, ge=100)
    """Header fields a message; more are answered 554 5.6.0."""
    recipients: int = Field(100, ge=1)
    """Recipients a transaction; more are answered 452 4.5.3 (RFC 5321 section 4.5.3.1.10)."""
    connections: int = Field(1000, ge=1)
    """Connections at once, all clients and workers together."""
    connections_per_client: int = Field(50, ge=1)
    """Connections at once from one address."""
    in_flight_memory: Annotated[Size, at_least("1 B")] = 256 * 1024**2
    """Message octets held in memory by all workers together, and one message more in each."""
    command_timeout: Annotated[Duration, at_least("10ms")] = timedelta(minutes=5)
    """How long the next command may take (RFC 5321 section 4.5.3.2.7)."""
    data_timeout: Annotated[Duration, at_least("10ms")] = timedelta(minutes=10)
    """How long a whole message may take to arrive."""
    chain_timeout: Annotated[Duration, at_least("10ms")] = timedelta(minutes=4)
    """How long all filters together may take; then the message is deferred."""
    errors: int = Field(10, ge=1)
    """Bad commands a session before it is closed with 421."""
    commands: int = Field(1000, ge=10)
    """Commands without a message in between before the session is closed with 421."""
    messages: int = Field(1000, ge=1)
    """Messages a session before it is closed with 421."""
    received_headers: int = Field(50, ge=10)
    """Received fields before a message counts as looping (RFC 5321 section 6.3)."""
    login_failures: int = Field(5, ge=1)
    """Failed logins from one address with one name before that pair is locked out."""
    lockout: Annotated[Duration, at_least("1s")] = timedelta(minutes=15)
    """How long a lock-out lasts after the last failure."""


class TlsFiles(Section):
    """The certificate chain and its key, as PEM files."""

    certificate: Path | None = None
    """The chain, the own certificate first."""
    key: Path | None = None
    """Its private key."""
    minimum_version: Literal["1.2", "1.3"] = "1.2"
    """The oldest TLS version that is spoken."""


class Dns(Section):
    """Which resolvers to ask."""

    servers: tuple[str, ...] = ()
    """`address` or `address:port`; empty means the machine's own."""
    timeout: Annotated[Duration, at_least("100ms")] = timedelta(seconds=5)
    """How long one look-up may take."""


class Listener(Section):
    """One address to listen on."""

    kind: Literal["smtp", "proxy", "milter"]
    """What is spoken there; this version serves smtp."""
    address: str
    """`host:port`, `[v6]:port` or `unix:/path`."""
    name: str = ""
    """What filters' applies_to, the logs and the metrics call it; its kind when not said."""
    tls: Literal["none", "starttls", "implicit"] = "none"
    """Whether the connection can become, or is from its start, an encrypted one."""
    auth: Literal["required", "optional", "none"] = "none"
    """Whether clients must, may or can't log in; always over TLS."""
    trusted_networks: tuple[Network, ...] = ()
    """Clients that may relay without AUTH."""
    relay_domains: tuple[Pattern, ...] = ()
    """Recipients that everybody may send to, without AUTH."""
    senders: Literal["own", "any"] = "own"
    """Whether a login sends as itself and its listed senders only."""
    from_header: Literal["own", "any"] = "any"
    """own: with senders = own, From and Sender must name the login or its listed senders, too."""
    proxy_protocol: bool = False
    """Whether each connection begins with a PROXY header (v1 or v2) of a load balancer."""
    proxy_from: tuple[Network, ...] = ()
    """Networks that may send PROXY headers; from elsewhere no connection is taken. Required
    with proxy_protocol, unless the address is one that only this machine can reach."""
    xclient_from: tuple[Network, ...] = ()
    """Networks that may say XCLIENT and XFORWARD."""
    upstream: str = ""
    """proxy only: the next hop's name."""
    client_in_received: bool = False
    """Whether Received shows a logged-in client's address and HELO name."""
    requiretls: bool = True
    """Whether REQUIRETLS is offered when the whole way can keep it."""


class PluginUse(Section):
    """One plugin instance: what [[auth]], [[filter]], [[signer]] and [[observer]] share."""

    use: str
    """The plugin's entry-point name."""
    name: str = ""
    """The instance's name, `use` when not said; unique."""
    timeout: Annotated[Duration, at_least("100ms")] = timedelta(seconds=30)
    """How long one call may take."""
    options: dict[str, Any] = Field(default_factory=dict, repr=False, exclude=True)
    """`filterrelay plugins NAME` lists them."""


class Filter(PluginUse):
    """One plugin in the chain that judges mail; file order is chain order."""

    on_error: Literal["defer", "accept", "quarantine"] = "defer"
    """What becomes of mail that the plugin can't judge."""
    mode: Literal["enforce", "shadow"] = "enforce"
    """shadow: verdicts are logged, counted and traced, and mail passes."""
    applies_to: tuple[str, ...] = ()
    """Listener names; empty means all."""


class Authenticator(PluginUse):
    """One plugin that knows who may log in; the first to know a login decides, in file order."""


class Signer(PluginUse):
    """One plugin that signs what leaves, after the last edit, in file order."""


class Observer(PluginUse):
    """One plugin that is told of every outcome and delivery attempt, and can change nothing."""


class Upstream(Section):
    """A next hop: hosts in the order of failover, and how to speak with them."""

    name: str
    """What routes, the logs and the metrics call it."""
    hosts: tuple[str, ...] = Field(min_length=1)
    """`host:port`, in the order of failover."""
    protocol: Literal["smtp", "lmtp"] = "smtp"
    """What is spoken there; this version speaks smtp."""
    tls: Literal["none", "opportunistic", "required", "implicit", "dane"] = "opportunistic"
    """required: a verified certificate or no mail, the default beside a username;
    opportunistic: encrypted if it can be; dane: not there yet."""
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
    xforward: bool = False
    """Whether the client's particulars are passed on with XFORWARD."""
    ca_file: Path | None = None
    """Authorities to trust instead of the system's."""
    connect_timeout: Annotated[Duration, at_least("100ms")] = timedelta(seconds=30)
    """How long connecting, TLS and the greeting may take."""
    timeout: Annotated[Duration, at_least("100ms")] = timedelta(minutes=5)
    """How long a reply may take (RFC 5321 section 4.5.3.2)."""


class RouteRule(Section):
    """Which recipients go to which upstream."""

    recipients: tuple[Pattern, ...] = ()
    """`*@partner.example`, `*.partner.example` or whole addresses; none means everybody."""
    upstream: str
    """An upstream's name."""


class SpoolSettings(Section):
    """Where accepted mail is kept."""

    url: str = "sqlite:///spool.sqlite"
    """Relative to state_dir; a fourth slash makes it absolute."""
    history: Duration = timedelta(days=7)
    """How long the trace of messages that are gone is kept."""
    free_space: Size = 100 * 1024**2
    """Octets that must stay free on the disk; below, mail is answered 452 4.3.1."""


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
    drain: Duration = timedelta(seconds=30)
    """How long sessions and deliveries under way may take to finish after SIGTERM."""


class QuarantineSettings(Section):
    """How long what filters set aside is kept."""

    keep: Annotated[Duration, at_least("1h")] = timedelta(days=30)
    """How long a message is kept."""


class MetricsSettings(Section):
    """Where /metrics, /healthz and /readyz are answered."""

    address: str = "127.0.0.1:9325"
    """`host:port`; empty switches it off."""


class ConsoleSettings(Section):
    """Where the web console will be answered; this version has none yet."""

    address: str = "127.0.0.1:9326"
    """`host:port`; empty switches it off."""


class Log(Section):
    """How the log is written."""

    format: Literal["auto", "console", "json"] = "auto"
    """auto: for a person's eyes on a terminal, else JSON."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least that is logged."""


class Settings(Section):
    """The whole file."""

    hostname: str = ""
    """The relay's name; the machine's when not said."""
    state_dir: Path = Path("/var/lib/filterrelay")
    """Where the spool, the quarantine and what plugins learn are kept."""
    workers: int = Field(0, ge=0, le=256)
    """Worker processes; 0 means one a CPU."""
    user: str = "filterrelay"
    """Whom to become when started as root; it must exist. `root` stays root."""
    limits: Limits = Limits()
    tls: TlsFiles = TlsFiles()
    dns: Dns = Dns()
    listener: tuple[Listener, ...] = Field(min_length=1)
    auth: tuple[Authenticator, ...] = ()
    upstream: tuple[Upstream, ...] = ()
    route: tuple[RouteRule, ...] = ()
    filter: tuple[Filter, ...] = ()
    signer: tuple[Signer, ...] = ()
    observer: tuple[Observer, ...] = ()
    spool: SpoolSettings = SpoolSettings()
    delivery: Delivery = Delivery()
    quarantine: QuarantineSettings = QuarantineSettings()
    metrics: MetricsSettings = MetricsSettings()
    console: ConsoleSettings = ConsoleSettings()
    log: Log = Log()

    _source: Source = PrivateAttr(default_factory=lambda: Source(Path("filterrelay.toml")))

    @property
    def source(self) -> Source:
        """The file these came from, to name the line where something is wrong."""
        return self._source

    @property
    def base_dir(self) -> Path:
        """The directory to which relative paths belong: the file's own."""
        return self._source.file.absolute().parent

    def with_source(self, source: Source) -> "Settings":
        """The same settings, said to come from there."""
        copy = self.model_copy()
        copy._source = source  # noqa: SLF001  # its own class's attribute
        return copy
