"""What of the routes can't be seen from one line: rules that never match, upstreams never used."""

from collections.abc import Iterator, Sequence

from filterrelay.mail.address import AddressPattern
from filterrelay.settings.models import Settings
from filterrelay.settings.outbound import RouteRule
from filterrelay.settings.toml_lines import line_of


def route_warnings(settings: Settings) -> Iterator[str]:
    """A sentence for each rule behind one that takes all it means, and each idle upstream."""
    for number, rule in enumerate(settings.route):
        for before, earlier in enumerate(settings.route[:number]):
            if _takes_all_of(earlier, rule):
                yield (
                    f"{_place(settings, number)} can never match: "
                    f"{_place(settings, before)} matches all that it does"
                )
                break
    used = {rule.upstream for rule in settings.route}
    used |= {each.upstream for each in settings.listener if each.upstream}
    for upstream in settings.upstream[1:]:
        if upstream.name not in used:
            yield (
                f"upstream {upstream.name}: no route leads to it; "
                "only a plugin that routes, or `queue redirect`, can use it"
            )


def _place(settings: Settings, number: int) -> str:
    line = line_of(settings.source.lines, ("route", number))
    return f"route {number + 1}{f' (line {line})' if line else ''}"


def _takes_all_of(earlier: RouteRule, later: RouteRule) -> bool:
    """Whether all mail that the later rule means is the earlier one's."""
    return (
        _cover(earlier.recipients, later.recipients)
        and _cover(earlier.senders, later.senders)
        and (
            not earlier.logins
            or (
                bool(later.logins)
                and ("*" in earlier.logins or set(later.logins) <= set(earlier.logins))
            )
        )
    )


def _cover(earlier: Sequence[AddressPattern], later: Sequence[AddressPattern]) -> bool:
    if not earlier or not later:
        return not earlier
    return all(any(pattern.covers(each) for pattern in earlier) for each in later)
