"""What the configuration file can say and this version can't do yet.

The file's whole language is checked, so that a file may be written ahead; but
nothing is served otherwise than it says.
"""

from collections.abc import Iterator

from filterrelay.settings.models import Listener, Settings, Upstream
from filterrelay.settings.problems import Problem
from filterrelay.settings.toml_lines import Path as KeyPath


def unserved(settings: Settings) -> Iterator[Problem]:
    """What can't be served, each with its key and line."""
    for path, why in _complaints(settings):
        yield settings.source.problem(path, why)


def _complaints(settings: Settings) -> Iterator[tuple[KeyPath, str]]:
    for number, listener in enumerate(settings.listener):
        for key, why in _listener(listener):
            yield ("listener", number, key), why
    for number, upstream in enumerate(settings.upstream):
        for key, why in _upstream(upstream):
            yield ("upstream", number, key), why
    if settings.spool.url.startswith("postgresql"):
        yield ("spool", "url"), "PostgreSQL is not there yet; use sqlite:///spool.sqlite"


def _listener(listener: Listener) -> Iterator[tuple[str, str]]:
    if listener.kind == "proxy":
        yield "kind", "proxy is not there yet; smtp and milter are"
    elif listener.kind == "smtp" and listener.xclient_from:
        yield "xclient_from", "XCLIENT and XFORWARD are not there yet"


def _upstream(upstream: Upstream) -> Iterator[tuple[str, str]]:
    if upstream.xforward:
        yield "xforward", "XFORWARD is not there yet"
    if upstream.xclient:
        yield "xclient", "XCLIENT is not there yet"
