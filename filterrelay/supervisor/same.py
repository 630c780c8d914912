"""What a reload must leave as it is."""

from dataclasses import dataclass
from typing import Any

from filterrelay.errors import FilterRelayError
from filterrelay.settings import Settings


@dataclass
class CantReload(FilterRelayError):
    """That can't be changed while running."""

    key: str


def listened_on(settings: Settings) -> dict[str, dict[str, Any]]:
    """Each address that is listened on, with what a Unix socket there is given."""
    addresses: dict[str, dict[str, Any]] = {
        one.address: {"mode": int(one.mode, 8), "group": one.group} for one in settings.listener
    }
    if settings.metrics.address:
        addresses.setdefault(settings.metrics.address, {})
    return dict(sorted(addresses.items()))


def require_same(new: Settings, old: Settings) -> None:
    """Raises CantReload where they differ in what only a restart can change."""
    for key, change in (
        ("state_dir", (new.state_dir, old.state_dir)),
        ("user", (new.user, old.user)),
        ("spool.url", (new.spool.url, old.spool.url)),  # the mail in the old one would be stranded
    ):
        if change[0] != change[1]:
            raise CantReload(key)
    wanted = listened_on(new)
    for address, options in listened_on(old).items():
        if address.startswith("unix:") and wanted.get(address, options) != options:
            raise CantReload(f"mode and group of the listener at {address}")
