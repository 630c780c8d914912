"""Plugins that sign with keys which must be published in DNS.

A signer that has the method `dkim_keys` tells `filterrelay dkim`, `filterrelay check` and
the relay's metrics which keys these are, before it is started: they need not be there yet.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from filterrelay.plugin.services import DnsError, Resolver
from filterrelay.wire.dkim_key import KeyUse, Publication, PublicKey, Published, compare_with_dns


class KeyHolder(Protocol):
    """A plugin instance that signs by DKIM."""

    def dkim_keys(self, base_dir: Path) -> Iterable[KeyUse]:
        """Each key with its domain and selector.

        base_dir: to which relative paths in the options belong.
        """
        ...


async def published(resolver: Resolver, record_name: str, key: PublicKey) -> Publication:
    """What DNS says of a key under the name where it is to be published."""
    try:
        records = await resolver.lookup(record_name, "TXT")
    except DnsError as error:
        return Publication(Published.UNANSWERED, f"DNS gives no answer: {error}")
    return compare_with_dns(key, [text for text in records if isinstance(text, bytes)])
