"""What the core lends to a plugin through `lifespan(services)`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from filterrelay.observe.clock import Clock

T = TypeVar("T")


class DnsError(Exception):
    """The look-up gave no trustworthy answer: a time-out, SERVFAIL or a broken reply.

    A name that doesn't exist, or has no such record, is no error but an empty answer.
    """


@dataclass(frozen=True, slots=True)
class DnsAnswer:
    """What DNS says, and how far that can be believed.

    secure: DNSSEC proves the records, or that there are none, all along the CNAMEs.
    name: what the name stands for at the end of its CNAMEs, without final dot.
    """

    records: Sequence[str | bytes | tuple[int, str]]
    secure: bool
    name: str


class Resolver(Protocol):
    """DNS look-ups through the servers of the configuration, cached, also in the negative."""

    async def lookup(self, name: str, kind: str) -> Sequence[str | bytes | tuple[int, str]]:
        """The records of a name; empty when there are none. Raises DnsError.

        kind and shape: `A`, `AAAA`: text; `PTR`, `CNAME`, `NS`: a name without
        final dot; `TXT`: bytes, its strings joined; `MX`: (preference, name).
        """
        ...


class SecureResolver(Resolver, Protocol):
    """A resolver that also tells what DNSSEC says, when its servers can be trusted with it."""

    async def lookup_secure(self, name: str, kind: str) -> DnsAnswer:
        """The same records, and whether they are authentic. Raises DnsError.

        kind also: `TLSA`, each record's octets as RFC 6698 section 2.1 has them.
        """
        ...


class InThread(Protocol):
    """Runs blocking or CPU-heavy work in threads, bounded for each plugin."""

    async def __call__(self, work: Callable[..., T], /, *args: Any) -> T:
        """The result of work(*args)."""
        ...


@dataclass(frozen=True, slots=True)
class Services:
    """One plugin instance's own set.

    hostname: the relay's name, also its authserv-id. state_dir: a directory of
    the plugin's own below the relay's, made when first needed by `make_state_dir`.
    log: a structlog logger bound to the plugin's name. base_dir: the
    configuration file's directory, to which relative paths in options belong.
    """

    hostname: str
    clock: Clock
    resolver: Resolver
    in_thread: InThread
    state_dir: Path
    base_dir: Path
    log: Any  # structlog's bound loggers are typed by their own configuration

    def make_state_dir(self) -> Path:
        """The plugin's state directory, there from now on."""
        self.state_dir.mkdir(mode=0o750, parents=True, exist_ok=True)
        return self.state_dir
