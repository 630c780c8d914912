"""The configuration's plugins, for those who ask them something beside the mail."""

from collections.abc import Iterable, Iterator
from typing import Any

from filterrelay.chain.loader import FILTER_HOOKS, load_plugin
from filterrelay.plugin.discovery import BadPlugin, plugin_class
from filterrelay.plugin.signing import KeyHolder
from filterrelay.settings import Settings
from filterrelay.wire.dkim_key import KeyUse

_HOOKS = {"filter": FILTER_HOOKS, "signer": ("sign",)}


def instances_with(
    settings: Settings, section: str, method: str, only: str = ""
) -> Iterator[tuple[str, Any]]:
    """The plugins of a section that have the method: each one's name and instance.

    only: the one of that name. What the others would need, such as a secret's file,
    isn't asked for. Raises BadPlugins when one can't be used as it is configured.
    """
    for number, use in enumerate(getattr(settings, section)):
        if only in ("", use.name) and _has(use.use, method):
            plugin = load_plugin(settings, section, number, _HOOKS[section])
            yield plugin.name, plugin.instance


def signing_keys(settings: Settings) -> list[KeyUse]:
    """The keys with which the configuration's signers sign, there or not. Raises BadPlugins."""
    signers: Iterable[tuple[str, KeyHolder]] = instances_with(settings, "signer", "dkim_keys")
    return [use for _, signer in signers for use in signer.dkim_keys(settings.base_dir)]


def _has(use: str, method: str) -> bool:
    try:
        return hasattr(plugin_class(use), method)
    except BadPlugin:  # `filterrelay check` says so; it can't have been meant here
        return False
