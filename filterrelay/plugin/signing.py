"""Plugins that sign with keys which must be published in DNS.

A signer that has the method `dkim_keys` tells `filterrelay dkim` and `filterrelay
check` which keys these are, before it is started: they need not be there yet.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from filterrelay.wire.dkim_key import KeyUse


class KeyHolder(Protocol):
    """A plugin instance that signs by DKIM."""

    def dkim_keys(self, base_dir: Path) -> Iterable[KeyUse]:
        """Each key with its domain and selector.

        base_dir: to which relative paths in the options belong.
        """
        ...
