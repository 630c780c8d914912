"""The configured spool: what `[spool] url` means."""

from dataclasses import dataclass
from pathlib import Path

from filterrelay.errors import FilterRelayError
from filterrelay.observe.clock import Clock
from filterrelay.observe.metrics import Metrics
from filterrelay.spool.memory import MemorySpool
from filterrelay.spool.sqlite import SqliteSpool
from filterrelay.spool.store import Spool


@dataclass
class BadSpoolUrl(FilterRelayError):
    """The spool's URL is none that can be opened."""

    reason: str  # never the URL itself, which may hold a password


def open_spool(
    url: str, state_dir: Path, *, free_space: int, metrics: Metrics | None, clock: Clock
) -> Spool:
    """The spool at that URL, not yet opened, so that it may be made before a fork.

    `sqlite:///spool.sqlite` is relative to state_dir, `sqlite:////var/…` absolute,
    `memory:` forgets all. free_space: octets that must stay free on the disk.
    Raises BadSpoolUrl.
    """
    scheme, colon, rest = url.partition(":")
    if not colon:
        raise BadSpoolUrl("it has no scheme; write one like sqlite:///spool.sqlite")
    match scheme:
        case "sqlite":
            path = rest.removeprefix("///")
            if path == rest or not path or path.endswith("/"):
                raise BadSpoolUrl("a file is written sqlite:///spool.sqlite or sqlite:////a/path")
            return SqliteSpool(state_dir / path, clock, free_space=free_space, metrics=metrics)
        case "memory":
            return MemorySpool(clock)
        case _:
            raise BadSpoolUrl(f"the scheme {scheme!r} is not known; sqlite and memory are")
