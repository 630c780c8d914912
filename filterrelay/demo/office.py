"""The office of the demonstration: its configuration, keys, users and name server's zone."""

import getpass
import socket
from dataclasses import dataclass
from pathlib import Path

from argon2 import PasswordHasher

from filterrelay.demo.samples import BANK, OFFICE, SHOP, Sample
from filterrelay.mail.edits import AddHeader, edit_message
from filterrelay.mail.message import Message
from filterrelay.observe.clock import Clock
from filterrelay.wire.dkim_key import SigningKey, make_key
from filterrelay.wire.dkim_signing import FIELD, Signer, names_to_sign, signature_values

USER = f"alice@{OFFICE}"
PASSWORD = "demo"  # noqa: S105  # it opens a relay that lives on loopback for some seconds
SELECTOR = "demo"
STRANGER = "203.0.113.7"  # the address that strangers come from (RFC 5737)

_CONFIGURATION = """\
hostname  = "relay.{office}"
state_dir = "state"
workers   = 2
user      = "{user}"

[tls]
certificate = "tls.pem"
key         = "tls.key"

[dns]
servers = ["{dns}"]

[[listener]]                       # the office's own clients
kind    = "smtp"
name    = "submission"
address = "127.0.0.1:{submission}"
tls     = "starttls"
auth    = "required"

[[listener]]                       # everybody else, for the office's domain only
kind    = "smtp"
name    = "inbound"
address = "127.0.0.1:{inbound}"
relay_domains = ["{office}"]
proxy_protocol = true              # so that strangers come from where they say

[[auth]]
use = "auth-file"
[auth.options]
path = "users"

[[upstream]]
name  = "provider"
hosts = ["{upstream}"]
tls   = "none"

[[filter]]
use = "spf"
[[filter]]
use = "dkim"
[[filter]]
use = "attachments"
[[filter]]
use = "spam"

[[signer]]
use = "dkim-sign"
[signer.options]
keys = [{{ domain = "{office}", selector = "{selector}", key = "dkim.pem" }}]

[metrics]
address = "127.0.0.1:{metrics}"

[console]
address = ""

[log]
format = "json"
"""


@dataclass(frozen=True, slots=True)
class Ports:
    """Free ports on loopback."""

    submission: int
    inbound: int
    metrics: int

    @classmethod
    def free(cls) -> "Ports":
        """Three that nobody listens on."""
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
        try:
            return cls(*(sock.getsockname()[1] for sock in sockets))
        finally:
            for sock in sockets:
                sock.close()


@dataclass(frozen=True, slots=True)
class Office:
    """Where the demonstration's files are, and the keys that sign in it."""

    directory: Path
    ports: Ports
    own_key: SigningKey
    shop_key: SigningKey

    @property
    def configuration(self) -> Path:
        """The file to serve."""
        return self.directory / "filterrelay.toml"

    @property
    def log(self) -> Path:
        """What the relay says."""
        return self.directory / "log"

    def zone(self) -> dict[tuple[str, str], str]:
        """What DNS says of the domains in the samples."""
        return {
            (OFFICE, "TXT"): '"v=spf1 -all"',
            (BANK, "TXT"): '"v=spf1 -all"',
            (SHOP, "TXT"): f'"v=spf1 ip4:{STRANGER} -all"',
            (f"{SELECTOR}._domainkey.{OFFICE}", "TXT"): _quoted(self.own_key.public.record),
            (f"{SELECTOR}._domainkey.{SHOP}", "TXT"): _quoted(self.shop_key.public.record),
        }

    def ready(self, sample: Sample, clock: Clock) -> bytes:
        """The sample's bytes as they are sent: signed and spoilt where it says so."""
        message = Message("demo", sample.raw)
        if sample.signed:
            signer = Signer(SHOP, SELECTOR, self.shop_key)
            at = int(clock.now().timestamp())
            (value,) = signature_values(message, [signer], names_to_sign(message, ("from",)), at)
            message = edit_message(message, [AddHeader(FIELD, value)])
        return message.raw.replace(b"Thursday", b"Friday") if sample.spoilt else message.raw


def _quoted(record: str) -> str:
    """A TXT record as a zone file has it, in strings of at most 255 octets."""
    return " ".join(f'"{record[i : i + 255]}"' for i in range(0, len(record), 255))


def keys(directory: Path) -> Office:
    """An office with fresh keys and ports, nothing written yet."""
    return Office(directory, Ports.free(), make_key("rsa"), make_key("rsa"))


def write(office: Office, upstream: str, dns: str, certificate: bytes, key: bytes) -> None:
    """Writes the configuration and what belongs to it."""
    ports = office.ports
    office.configuration.write_text(
        _CONFIGURATION.format(
            office=OFFICE,
            user=getpass.getuser(),
            dns=dns,
            upstream=upstream,
            selector=SELECTOR,
            submission=ports.submission,
            inbound=ports.inbound,
            metrics=ports.metrics,
        )
    )
    hasher = PasswordHasher(time_cost=1, memory_cost=8192)  # quick: it guards nothing
    _write_secret(
        office.directory / "users", f"{USER}:{{ARGON2ID}}{hasher.hash(PASSWORD)}\n".encode()
    )
    _write_secret(office.directory / "dkim.pem", office.own_key.pem)
    _write_secret(office.directory / "tls.key", key)
    (office.directory / "tls.pem").write_bytes(certificate)


def _write_secret(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)
