"""What the configuration file can say and this version can't do yet.

The file's whole language is checked, so that a file may be written ahead; but
nothing is served otherwise than it says.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from filterrelay.errors import FilterRelayError
from filterrelay.settings.models import Listener, Settings, Upstream


@dataclass
class NotServed(FilterRelayError):
    """This version can't do what the configuration file asks for.

    problems: pairs of the key, as `listener[0].kind`, and what is missing.
    """

    problems: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return "\n".join(f"{key}: {why}" for key, why in self.problems)


def unserved(settings: Settings) -> Iterator[tuple[str, str]]:
    """What can't be served, each with its key."""
    for number, listener in enumerate(settings.listener):
        for key, why in _listener(listener):
            yield f"listener[{number}].{key}", why
    for number, upstream in enumerate(settings.upstream):
        for key, why in _upstream(upstream):
            yield f"upstream[{number}].{key}", why
    for number, route in enumerate(settings.route):
        if route.upstream == "mx":
            yield f"route[{number}].upstream", "direct delivery (mx) is not there yet"
    if settings.spool.url.startswith("postgresql"):
        yield "spool.url", "PostgreSQL is not there yet; use sqlite:///spool.sqlite"


def _listener(listener: Listener) -> Iterator[tuple[str, str]]:
    if listener.kind != "smtp":
        yield "kind", f"{listener.kind} is not there yet; smtp is"
    if listener.xclient_from:
        yield "xclient_from", "XCLIENT and XFORWARD are not there yet"


def _upstream(upstream: Upstream) -> Iterator[tuple[str, str]]:
    if upstream.protocol != "smtp":
        yield "protocol", f"{upstream.protocol} is not there yet; smtp is"
    if upstream.tls == "dane":
        yield "tls", "dane is not there yet; required verifies by certificate authorities"
    if upstream.xforward:
        yield "xforward", "XFORWARD is not there yet"
