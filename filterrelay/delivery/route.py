"""Which next hop a recipient's mail goes to."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from filterrelay.errors import FilterRelayError
from filterrelay.mail.address import Address, AddressPattern, any_matches
from filterrelay.mail.envelope import Envelope, Recipient
from filterrelay.mail.outcome import Route
from filterrelay.settings import RouteRule
from filterrelay.spool.store import StoredRecipient

RouteHook = Callable[[Envelope, Recipient, str], Awaitable[Route | None]]  # and the listener
NOWHERE = ""  # the upstream of a recipient that no route can be found for now

_log: Any = structlog.get_logger("filterrelay.delivery")


@dataclass
class BadRoute(FilterRelayError):
    """A route leads to an upstream that is not configured."""

    upstream: str


class Routes:
    """The file's routes: first match wins, the default when none does.

    hook: asked first, for each recipient; what it doesn't know goes by the file.
    """

    def __init__(
        self,
        rules: Sequence[RouteRule],
        upstreams: Collection[str],
        default: str,
        hook: RouteHook | None = None,
    ) -> None:
        """Raises BadRoute for a rule, or a default, that leads nowhere."""
        for name in (*(rule.upstream for rule in rules), *([default] if default else [])):
            if name not in upstreams:
                raise BadRoute(name)
        self._rules: list[tuple[tuple[AddressPattern, ...], str]] = [
            (rule.recipients, rule.upstream) for rule in rules
        ]
        self._upstreams = frozenset(upstreams)
        self._default = default
        self._hook = hook

    @property
    def asks(self) -> bool:
        """Whether a plugin is asked, so that `split` must be used in place of `split_by_file`."""
        return self._hook is not None

    def by_file(self, address: Address) -> str:
        """The upstream that the file names for the address."""
        for patterns, upstream in self._rules:
            if any_matches(patterns, address):
                return upstream
        return self._default

    def split_by_file(
        self, recipients: Sequence[StoredRecipient]
    ) -> Mapping[str, Sequence[StoredRecipient]]:
        """The recipients by upstream, as the file has it."""
        if not self._rules:
            return {self._default: recipients}
        parts: dict[str, list[StoredRecipient]] = {}
        for stored in recipients:
            parts.setdefault(self.by_file(stored.recipient.address), []).append(stored)
        return parts

    async def split(
        self, envelope: Envelope, recipients: Sequence[StoredRecipient], listener: str
    ) -> Mapping[str, Sequence[StoredRecipient]]:
        """The recipients by upstream, the hook asked first; NOWHERE for those to be deferred."""
        parts: dict[str, list[StoredRecipient]] = {}
        for stored in recipients:
            upstream = await self._ask(envelope, stored.recipient, listener)
            parts.setdefault(upstream, []).append(stored)
        return parts

    async def _ask(self, envelope: Envelope, recipient: Recipient, listener: str) -> str:
        assert self._hook is not None
        try:
            route = await self._hook(envelope, recipient, listener)
        except Exception:  # noqa: BLE001  # the seam to plugins: mail waits until it is repaired
            _log.exception("routing_failed", recipient=str(recipient))
            return NOWHERE
        if route is None:
            return self.by_file(recipient.address)
        if route.upstream not in self._upstreams:
            _log.error("route_unknown", upstream=route.upstream)
            return NOWHERE
        return route.upstream
