"""The mail servers of a destination, for direct delivery."""

from dataclasses import dataclass
from typing import Protocol

from filterrelay.errors import FilterRelayError
from filterrelay.mail.reply import Reply


@dataclass
class NoWay(FilterRelayError):
    """No mail server of the destination can be named. reply: what its recipients are told."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class Site:
    """Servers that stand for each other; domains with the same ones share their connections.

    name: the same for the same servers, without any of `#`. hosts: names in
    groups of equal preference, best first (RFC 5321 section 5.1). tls: the policy for them,
    or empty for the upstream's own. secure: whether DNSSEC proves that these are the
    domain's servers.
    """

    name: str
    hosts: tuple[tuple[str, ...], ...]
    tls: str = ""
    secure: bool = False


class Sites(Protocol):
    """Who knows the destinations' servers."""

    async def site(self, domain: str, tls: str = "") -> Site:
        """The servers for that domain. tls: the route's policy, or empty. Raises NoWay."""
        ...
