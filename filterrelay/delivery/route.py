"""Which next hop a recipient's mail goes to."""

from asyncio import gather
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import structlog

from filterrelay.delivery.site import NoWay, Site, Sites
from filterrelay.errors import FilterRelayError
from filterrelay.mail.address import Address, any_matches
from filterrelay.mail.envelope import Envelope, Recipient
from filterrelay.mail.hop import Hop
from filterrelay.mail.outcome import Route
from filterrelay.mail.reply import Reply
from filterrelay.settings import Destination, RouteRule
from filterrelay.settings.routes import DISCARD, REJECT, refusal_of
from filterrelay.spool.store import StoredMessage, StoredRecipient

RouteHook = Callable[[Envelope, Recipient, str], Awaitable[Route | None]]  # and the listener
NO_ROUTE = Reply(451, "4.3.5", "No route to this recipient now")  # RFC 3463 section 3.4
RETURNED = Reply(554, "5.7.1", "Returned by the postmaster")
_NAMED = 3  # of a rule's patterns, where it is told why mail goes its way
DISCARDED = Reply(250, "2.0.0", "Discarded, as the route says")

_log: Any = structlog.get_logger("filterrelay.delivery")


@dataclass
class BadRoute(FilterRelayError):
    """A route leads to an upstream that is not configured."""

    upstream: str


@dataclass(frozen=True, slots=True)
class Way:
    """Where one recipient's mail goes.

    answer: what becomes of it instead of an attempt; None when there is one. site: the
    servers of a hop of direct delivery. reason: why, for people. rule: the number of the
    file's route that says so, counted from 1; 0 when none does.
    """

    hop: Hop
    answer: Reply | None = None
    site: Site | None = field(default=None, compare=False)
    reason: str = field(default="", compare=False)
    rule: int = field(default=0, compare=False)


class Routes:
    """The file's routes: first match wins, the default when none does.

    direct: who knows the servers of direct delivery, by the names of its upstreams.
    hook: asked before the file, for each recipient; what it doesn't know goes by the file.
    """

    def __init__(
        self,
        rules: Sequence[RouteRule],
        upstreams: Collection[str],
        default: str,
        hook: RouteHook | None = None,
        *,
        direct: Mapping[str, Sites] | None = None,
        destinations: Sequence[Destination] = (),
    ) -> None:
        """Raises BadRoute for a rule, or a default, that leads nowhere."""
        self._direct = direct or {}
        self._upstreams = {*upstreams, *self._direct, DISCARD, REJECT}
        for name in (*(rule.upstream for rule in rules), *([default] if default else [])):
            if name not in self._upstreams:
                raise BadRoute(name)
        self._rules = rules
        self._default = Way(Hop(default), reason="no route matches: the default upstream")
        self._hook = hook
        self._refuses = any(rule.upstream == REJECT for rule in rules)
        self._destinations = destinations
        self._is_plain = not (rules or destinations or default in self._direct)
        self._asks = hook is not None or any(
            name in self._direct for name in (default, *(rule.upstream for rule in rules))
        )

    def asks_for(self, recipients: Sequence[StoredRecipient]) -> bool:
        """Whether plugins or the DNS are asked, so that `split` must be used."""
        return self._asks or any(stored.redirect in self._direct for stored in recipients)

    def by_file(self, sender: Address | None, recipient: Address, login: str) -> Way:
        """What the file says; for direct delivery without the servers, which DNS knows."""
        for number, rule in enumerate(self._rules, 1):
            if _matches(rule, sender, recipient, login):
                hop, answer = self._shaped(Hop(rule.upstream, rule.tls or ""), recipient), None
                if rule.upstream == REJECT:
                    hop, answer = Hop(REJECT), refusal_of(rule)
                elif rule.upstream == DISCARD:
                    hop, answer = Hop(DISCARD), DISCARDED
                reason = f"route {number}: {_words(rule)}"
                return Way(hop, answer, reason=reason, rule=number)
        if not self._default.hop.upstream:
            return replace(self._default, answer=NO_ROUTE)
        return replace(self._default, hop=self._shaped(self._default.hop, recipient))

    def refusal(self, sender: Address | None, recipient: Address, login: str) -> Reply | None:
        """What the file has those told at the door whose mail it rejects; None for the others."""
        if not self._refuses:
            return None
        way = self.by_file(sender, recipient, login)
        return way.answer if way.hop.upstream == REJECT else None

    def split_by_file(
        self, message: StoredMessage, recipients: Sequence[StoredRecipient]
    ) -> Mapping[Way, Sequence[StoredRecipient]]:
        """The recipients by the way they go, as the file and the operator have it."""
        if self._is_plain and not any(stored.redirect for stored in recipients):
            return {self._default: recipients}
        login = _login_of(message)
        parts: dict[Way, list[StoredRecipient]] = {}
        for stored in recipients:
            way = self._redirected(stored) or self.by_file(
                message.envelope.sender, stored.recipient.address, login
            )
            parts.setdefault(way, []).append(stored)
        return parts

    async def split(
        self, message: StoredMessage, recipients: Sequence[StoredRecipient]
    ) -> Mapping[Way, Sequence[StoredRecipient]]:
        """The recipients by the way they go: operator, hook, file and DNS.

        The DNS is asked for all domains at once, so that none waits for another's.
        """
        listener, login = message.session.get("listener", ""), _login_of(message)
        chosen: dict[tuple[Way, str], list[StoredRecipient]] = {}
        for stored in recipients:
            way = self._redirected(stored) or await self.choose(
                message.envelope, stored.recipient, login, listener
            )
            domain = stored.recipient.address.domain.lower() if self._is_direct(way) else ""
            chosen.setdefault((way, domain), []).append(stored)
        parts: dict[Way, list[StoredRecipient]] = {}
        ways = await gather(
            *(self.located(way, members[0].recipient) for (way, _), members in chosen.items())
        )
        for way, members in zip(ways, chosen.values(), strict=True):
            parts.setdefault(way, []).extend(members)
        return parts

    async def choose(
        self, envelope: Envelope, recipient: Recipient, login: str, listener: str
    ) -> Way:
        """The hook's way, or else the file's; the servers of direct delivery are still unknown."""
        if self._hook is not None:
            try:
                route = await self._hook(envelope, recipient, listener)
                if route is not None:
                    return self._named(route.upstream, recipient, route.reason or "by a plugin")
            except Exception:  # noqa: BLE001  # the seam to plugins: mail waits until it is repaired
                _log.exception("routing_failed", recipient=str(recipient))
                return Way(Hop(""), NO_ROUTE, reason="the plugin that routes failed")
        return self.by_file(envelope.sender, recipient.address, login)

    async def located(self, way: Way, recipient: Recipient) -> Way:
        """The way with the servers that DNS names, when it is one of direct delivery."""
        if not self._is_direct(way):
            return way
        sites = self._direct[way.hop.upstream]
        try:
            site = await sites.site(recipient.address.domain, way.hop.tls)
        except NoWay as no_way:
            return replace(way, answer=no_way.reply)
        except Exception:  # noqa: BLE001  # a seam: the mail waits until it is repaired
            _log.exception("routing_failed", recipient=str(recipient))
            return replace(way, answer=NO_ROUTE)
        hop = replace(way.hop, tls=site.tls or way.hop.tls, site=site.name)
        if not hop.shape:
            hop = self._shaped(hop, Address("postmaster", site.hosts[0][0]))
        return replace(way, hop=hop, site=site)

    def _is_direct(self, way: Way) -> bool:
        return way.answer is None and way.hop.upstream in self._direct

    def _redirected(self, stored: StoredRecipient) -> Way | None:
        if not stored.redirect:
            return None
        name, _, words = stored.redirect.partition(":")
        if name == REJECT:
            answer = replace(RETURNED, text=f"{RETURNED.text}: {words}" if words else RETURNED.text)
            return Way(Hop(REJECT), answer, reason="returned by an operator")
        return self._named(name, stored.recipient, "redirected by an operator")

    def _named(self, upstream: str, recipient: Recipient, reason: str) -> Way:
        """The way to the upstream of that name; mail for an unknown one waits."""
        if upstream == REJECT:
            return Way(Hop(REJECT), refusal_of(None), reason=reason)
        if upstream == DISCARD:
            return Way(Hop(DISCARD), DISCARDED, reason=reason)
        if upstream not in self._upstreams:
            _log.error("route_unknown", upstream=upstream)
            return Way(Hop(""), NO_ROUTE, reason=f"{reason}: there is no upstream {upstream}")
        return Way(self._shaped(Hop(upstream), recipient.address), reason=reason)

    def _shaped(self, hop: Hop, recipient: Address) -> Hop:
        for destination in self._destinations:
            if any_matches(destination.domains, recipient):
                return replace(hop, shape=destination.name)
        return hop


def _matches(rule: RouteRule, sender: Address | None, recipient: Address, login: str) -> bool:
    return (
        (not rule.recipients or any_matches(rule.recipients, recipient))
        and (not rule.senders or (sender is not None and any_matches(rule.senders, sender)))
        and (not rule.logins or login in rule.logins or bool(login and "*" in rule.logins))
    )


def _words(rule: RouteRule) -> str:
    """What the rule asks for, as people read it; a long list is cut short."""
    parts = [
        f"{key} {', '.join(values[:_NAMED])}{_and_more(len(values) - _NAMED)}"
        for key, values in (
            ("recipients", [pattern.text for pattern in rule.recipients]),
            ("senders", [pattern.text for pattern in rule.senders]),
            ("logins", rule.logins),
        )
        if values
    ]
    return "; ".join(parts) or "everybody"


def _and_more(left: int) -> str:
    return f" and {left} more" if left > 0 else ""


def _login_of(message: StoredMessage) -> str:
    identity = message.session.get("identity")
    return identity["login"] if identity else ""
