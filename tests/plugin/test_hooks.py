"""The hooks stand in one file, and each has its place in the documentation."""

import inspect

from filterrelay.plugin.discovery import HOOK_NAMES
from filterrelay.plugin.hooks import Hooks


def test_all_hooks_but_lifespan_are_coroutines() -> None:
    """No plugin can hold the relay up by accident."""
    plain = [n for n in HOOK_NAMES if not inspect.iscoroutinefunction(getattr(Hooks, n))]
    assert plain == ["lifespan"]
