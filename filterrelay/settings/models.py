"""filterrelay.toml as frozen values; `settings.file.load` reads and validates it.

Every key has a default except the listeners. Paths are absolute once loaded.
"""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr

from filterrelay.plugin.options import Duration, Size, at_least
from filterrelay.settings.outbound import Delivery, Destination, RouteRule, Upstream
from filterrelay.settings.problems import Source
from filterrelay.settings.section import Network, Pattern, Section


class Limits(Section):
    """What a client can make grow, bounded."""

    message_size: Annotated[Size, at_least("1 B")] = 50 * 1024**2
    """The largest message, announced with SIZE."""
    header_size: Size = 1024**2
    """The largest header section of a message; a larger one is answered 552 5.3.4."""
    header_fields: int = Field(1000, ge=100)
    """Header fields a message; more are answered 554 5.6.0."""
    recipients: int = Field(100, ge=1)
    """Recipients a transaction; more are answered 452 4.5.3 (RFC 5321 section 4.5.3.1.10). A
    milter takes as many as its mail server does."""
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
    """Commands without a message in between before the session is closed with 421; not counting
    the recipients of a message that is still to come."""
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
    validating: bool | None = None
    """Whether the servers check DNSSEC and are reached safely; when not said, whether all of
    them are on this machine. DANE needs it."""


class Listener(Section):
    """One address to listen on."""

    kind: Literal["smtp", "proxy", "milter"]
    """What is spoken there. smtp: mail is accepted, filtered, signed, spooled and delivered.
    proxy: Postfix's before-queue or content filter; it is filtered, signed and passed on while
    the client waits. milter: Postfix's or Sendmail's; the mail server makes the changes."""
    address: str
    """`host:port`, `[v6]:port` or `unix:/path`."""
    mode: str = Field("0660", pattern="^0?[0-7]{3}$")
    """The Unix socket's permissions, in octal. To change these or the group takes a restart."""
    group: str = ""
    """The Unix socket's group, by name, so that the mail server may connect; the relay's own
    when not said."""
    name: str = ""
    """What filters' applies_to, the logs and the metrics call it; its kind when not said."""
    tls: Literal["none", "starttls", "implicit"] = "none"
    """Whether the connection can become, or is from its start, an encrypted one."""
    auth: Literal["required", "optional", "none"] = "none"
    """Whether clients must, may or can't log in; always over TLS."""
    trusted_networks: tuple[Network, ...] = ()
    """Clients that may relay without AUTH. Behind a mail server, whose mail is signed and
    completed as one's own; there the machine's own addresses when not said."""
    relay_domains: tuple[Pattern, ...] = ()
    """Recipients that everybody may send to, without AUTH."""
    senders: Literal["own", "any"] = "own"
    """Whether a login sends as itself and its listed senders only. A proxy and a milter know
    only the login's name: there it is any when not said."""
    from_header: Literal["own", "any"] = "any"
    """own: with senders = own, From and Sender must name the login or its listed senders, too."""
    proxy_protocol: bool = False
    """Whether each connection begins with a PROXY header (v1 or v2) of a load balancer."""
    proxy_from: tuple[Network, ...] = ()
    """Networks that may send PROXY headers; from elsewhere no connection is taken. Required
    with proxy_protocol, unless the address is one that only this machine can reach."""
    xclient_from: tuple[Network, ...] = ()
    """Networks of the mail servers that may say who their client is, with XCLIENT, XFORWARD or
    as a milter's. Only they may use a proxy and a milter, which take the machine's own
    addresses when it isn't said. Their connections count for no client but the one they name.
    XFORWARD names the client for a proxy; on an smtp listener it decides nothing."""
    upstream: str = ""
    """The next hop's name. proxy: where mail is passed on. milter: where mail goes that is
    released from our own quarantine; the routes' way when not said."""
    quarantine: Literal["hold", "own"] = "hold"
    """milter only. Where mail goes that a filter sets aside. hold: the mail server's hold
    queue; own: ours, and the mail server is told that it is done."""
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


class SpoolSettings(Section):
    """Where accepted mail is kept."""

    url: str = "sqlite:///spool.sqlite"
    """Relative to state_dir; a fourth slash makes it absolute."""
    history: Duration = timedelta(days=7)
    """How long the trace of messages that are gone is kept."""
    free_space: Size = 100 * 1024**2
    """Octets that must stay free on the disk; below, mail is answered 452 4.3.1."""


class QuarantineSettings(Section):
    """How long what filters set aside is kept."""

    keep: Annotated[Duration, at_least("1h")] = timedelta(days=30)
    """How long a message is kept."""


class MetricsSettings(Section):
    """Where /metrics, /healthz and /readyz are answered."""

    address: str = "127.0.0.1:9325"
    """`host:port`; empty switches it off."""
    top: int = Field(10, ge=0, le=50)
    """Logins and destinations that the top lists name; 0 keeps their names out of the metrics."""


class ConsoleSettings(Section):
    """Where the web console will be answered; this version has none yet."""

    address: str = "127.0.0.1:9326"
    """`host:port`; empty switches it off."""


class Log(Section):
    """How the log is written."""

    format: Literal["auto", "console", "json", "journald"] = "auto"
    """auto: systemd's journal if it reads our output, for a person's eyes on a terminal, else
    JSON."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least that is logged."""
    mail_log: str = ""
    """Where lines like Postfix's go, too, for tools that count them: a file, or `syslog`."""
    addresses: Literal["full", "short", "hashed"] = "full"
    """How mail addresses and logins are logged. short: `a…@office.example`. hashed: with a key
    in state_dir, the same each time. The trace has them in full."""


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
    destination: tuple[Destination, ...] = ()
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
