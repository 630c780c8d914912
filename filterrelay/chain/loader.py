"""From the configuration to checked plugins in their places."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from filterrelay.chain.step import Policy, Step
from filterrelay.errors import FilterRelayError
from filterrelay.observe.clock import Clock
from filterrelay.observe.metrics import Metrics
from filterrelay.plugin.discovery import (
    BadOptions,
    BadPlugin,
    Plugin,
    load,
    options_type,
    plugin_class,
)
from filterrelay.plugin.options import UnreadableSecret, with_secrets
from filterrelay.settings import Filter, PluginUse, Settings
from filterrelay.settings.problems import Problem, Source, path_of

FILTER_HOOKS = (
    *("on_connect", "on_helo", "on_sender", "on_recipient", "on_message"),
    *("route", "on_outcome", "on_attempt"),
)
OBSERVER_HOOKS = ("on_outcome", "on_attempt")

log = structlog.get_logger(__name__)


@dataclass
class BadPlugins(FilterRelayError):
    """The configuration's plugins can't be used as they are.

    problems: pairs of the key, as `filter[0].options.socket`, and what is wrong.
    source: the file that has these keys, to name their lines.
    """

    problems: tuple[tuple[str, str], ...]
    source: Source

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.located())

    def located(self) -> list[Problem]:
        """The problems with their lines."""
        return [self.source.problem(path_of(key), why) for key, why in self.problems]


@dataclass(frozen=True, slots=True)
class PluginSet:
    """All steps of a configuration, each kind in file order."""

    filters: tuple[Step, ...] = ()
    authenticators: tuple[Step, ...] = ()
    signers: tuple[Step, ...] = ()
    observers: tuple[Step, ...] = ()

    def __iter__(self) -> Iterator[Step]:
        """Every step once."""
        yield from self.authenticators
        yield from self.filters
        yield from self.signers
        yield from self.observers


def load_plugins(settings: Settings, clock: Clock, metrics: Metrics) -> PluginSet:
    """Every plugin of the configuration, checked. Raises BadPlugins with all that is wrong."""
    problems: list[tuple[str, str]] = []

    def steps(section: str, uses: Sequence[PluginUse], hooks: Sequence[str]) -> tuple[Step, ...]:
        found = []
        for number, use in enumerate(uses):
            key = f"{section}[{number}]"
            plugin = _load(key, use, settings.base_dir, hooks, problems.append)
            if plugin is not None:
                found.append(Step(plugin, policy_of(use), clock, metrics))
        return tuple(found)

    plugins = PluginSet(
        filters=steps("filter", settings.filter, FILTER_HOOKS),
        authenticators=steps("auth", settings.auth, ("authenticate",)),
        signers=steps("signer", settings.signer, ("sign",)),
        observers=steps("observer", settings.observer, OBSERVER_HOOKS),
    )
    problems.extend(_unmet_needs(settings.filter, plugins.filters))
    if problems:
        raise BadPlugins(tuple(problems), settings.source)
    _warn_of_weak_needs(plugins.filters, (each.name for each in settings.listener))
    return plugins


def policy_of(use: PluginUse) -> Policy:
    """How the configuration wants the plugin treated."""
    seconds = use.timeout.total_seconds()
    if isinstance(use, Filter):
        return Policy(seconds, use.on_error, use.mode == "shadow", frozenset(use.applies_to))
    return Policy(seconds)


def _load(
    key: str,
    use: PluginUse,
    base_dir: Path,
    hooks: Sequence[str],
    report: Callable[[tuple[str, str]], None],
) -> Plugin | None:
    try:
        options = with_secrets(use.options, options_type(plugin_class(use.use)), base_dir)
        plugin = load(use.use, use.name or use.use, options)
    except (UnreadableSecret, ValueError) as error:
        report((f"{key}.options", str(error)))
    except BadOptions as error:
        for option, why in error.problems:
            report((f"{key}.options.{option}", why))
    except BadPlugin as error:
        report((f"{key}.use", error.reason))
    else:
        if any(hook in plugin.hooks for hook in hooks):
            return plugin
        report(
            (f"{key}.use", f"{use.use} has none of the hooks that work here: {', '.join(hooks)}")
        )
    return None


def _unmet_needs(uses: Sequence[PluginUse], steps: Sequence[Step]) -> Iterable[tuple[str, str]]:
    places = {use.name or use.use: number for number, use in enumerate(uses)}
    for place, step in enumerate(steps):
        for need in step.plugin.needs:
            if not any(other.meets(need) for other in steps[:place]):
                key = f"filter[{places[step.name]}].use"
                yield key, f"{step.plugin.use} needs {need}, which must stand before it in the file"


def _warn_of_weak_needs(steps: Sequence[Step], listeners: Iterable[str]) -> None:
    """Warns of needs that nobody meets: a plugin in shadow mode, or meant for other listeners."""
    everywhere = frozenset(listeners)
    for place, step in enumerate(steps):
        for need in step.plugin.needs:
            missing = set(step.policy.applies_to or everywhere)
            for other in steps[:place]:
                if other.meets(need) and not other.policy.shadow:
                    missing -= other.policy.applies_to or everywhere
            if missing:
                log.warning("need_unmet", plugin=step.name, needs=need, listeners=sorted(missing))


def sources(filters: Sequence[Step]) -> dict[str, dict[str, tuple[str, ...]]]:
    """Whose findings meet the needs: by instance, then by need, the instances in file order."""
    return {
        step.name: {
            need: tuple(other.name for other in filters if other.meets(need) and other is not step)
            for need in step.plugin.needs
        }
        for step in filters
    }


def waves(steps: Iterable[Step]) -> list[tuple[Step, ...]]:
    """The steps in groups that run at once, in file order.

    A step begins a new wave when it needs a finding of the present one, and an
    editor always has a wave of its own: so each wave is a run of neighbours in
    the file, and the first in file order is the first in any order.
    """
    grouped: list[list[Step]] = []
    closed = True
    for step in steps:
        present = grouped[-1] if grouped else []
        needed = any(other.meets(need) for need in step.plugin.needs for other in present)
        if closed or step.plugin.edits or needed:
            grouped.append([step])
        else:
            grouped[-1].append(step)
        closed = step.plugin.edits
    return [tuple(group) for group in grouped]
