"""What a destination demands of the connections to its mail servers: DANE and MTA-STS."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from filterrelay import settings
from filterrelay.delivery.mta_sts import NOTHING, MtaSts
from filterrelay.delivery.site import NoWay
from filterrelay.delivery.tls import MAY_DANE, STS, STS_DANE
from filterrelay.delivery.tls_tally import TlsTally
from filterrelay.mail.reply import Reply

Groups = tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Protected:
    """The mail servers that may be used, by preference, and what is demanded of them.

    tls: a policy's name in place of the upstream's own, or empty.
    """

    groups: Groups
    tls: str = ""


class Protections:
    """Finds the demands of destinations, as far as an upstream of direct delivery keeps them.

    sts: who knows MTA-STS policies. tally: is told what a domain has, for its report. An
    upstream without TLS keeps none: the file says so.
    """

    def __init__(
        self,
        upstream: settings.Upstream,
        sts: MtaSts,
        tally: TlsTally | None = None,
    ) -> None:
        self._own = upstream.tls
        self._dane = upstream.dane
        self._sts = sts if upstream.mta_sts and upstream.tls not in ("none", "dane") else None
        self._tally = tally

    async def of(self, domain: str, groups: Groups, *, secure: bool, tls: str = "") -> Protected:
        """The domain's demands. Raises NoWay when none of its servers may be used.

        domain: ASCII, lower case. groups: at least one server. secure: whether DNSSEC proves
        that these are its servers; else their TLSA records prove nothing (RFC 7672 section
        2.2.1). tls: the route's policy, which takes the place of all that is demanded.
        """
        if (tls or self._own) == "dane" and not secure:
            why = f"DNSSEC doesn't prove the mail servers of {domain}, and DANE is required"
            raise NoWay(Reply(451, "4.7.5", why))  # RFC 3463 section 3.8
        if tls:
            return Protected(groups, STS if tls == "required" and secure else tls)
        told = await self._sts.policy(domain) if self._sts is not None else NOTHING
        if self._tally is not None:
            self._tally.found(domain, told)
        enforced = told.policy is not None and told.policy.mode == "enforce"
        if enforced:
            assert told.policy is not None
            named, groups = groups, _kept(groups, told.policy.allows)
            if not groups:
                if self._tally is not None:
                    self._tally.unnamed(domain, named[0][0])
                why = f"none of the mail servers of {domain} is one of its MTA-STS policy"
                raise NoWay(Reply(451, "4.7.5", why))
        return Protected(groups, self._policy(enforced=enforced, secure=secure))

    def _policy(self, *, enforced: bool, secure: bool) -> str:
        if self._own == "required":
            return STS if enforced or secure else ""
        if self._own != "opportunistic":
            return ""
        dane = secure and self._dane
        if enforced:
            return STS_DANE if dane else STS
        return MAY_DANE if dane else ""


def _kept(groups: Groups, allows: Callable[[str], bool]) -> Groups:
    kept: Sequence[tuple[str, ...]] = [tuple(filter(allows, group)) for group in groups]
    return tuple(group for group in kept if group)
