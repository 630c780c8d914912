"""What the configuration file can say and this version can't do yet.

The file's whole language is checked, so that a file may be written ahead; but
nothing is served otherwise than it says.
"""

from collections.abc import Iterator

from filterrelay.settings.models import Settings
from filterrelay.settings.problems import Problem
from filterrelay.settings.toml_lines import Path as KeyPath


def unserved(settings: Settings) -> Iterator[Problem]:
    """What can't be served, each with its key and line."""
    for path, why in _complaints(settings):
        yield settings.source.problem(path, why)


def _complaints(settings: Settings) -> Iterator[tuple[KeyPath, str]]:
    if settings.spool.url.startswith("postgresql"):
        yield ("spool", "url"), "PostgreSQL is not there yet; use sqlite:///spool.sqlite"
