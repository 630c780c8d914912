"""From the configuration to checked plugins in their places."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import structlog

from filterrelay.chain.step import Policy, Step
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
from filterrelay.plugin.faults import KeyPath
from filterrelay.plugin.options import UnreadableSecret, with_secrets
from filterrelay.settings import Filter, PluginUse, Settings
from filterrelay.settings.problems import Problem, SettingsError

FILTER_HOOKS = (
    *("on_connect", "on_helo", "on_sender", "on_recipient", "on_message"),
    *("route", "on_outcome", "on_attempt"),
)
OBSERVER_HOOKS = ("on_outcome", "on_attempt")
SECTIONS = {
    "auth": ("authenticate",),
    "filter": FILTER_HOOKS,
    "signer": ("sign",),
    "observer": OBSERVER_HOOKS,
}

log = structlog.get_logger(__name__)


@dataclass
class BadPlugins(SettingsError):
    """The configuration's plugins can't be used as they are."""


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
    problems: list[Problem] = []

    def steps(section: str, uses: Sequence[PluginUse], hooks: Sequence[str]) -> tuple[Step, ...]:
        found = []
        for number, use in enumerate(uses):
            try:
                plugin = load_plugin(settings, section, number, hooks)
            except BadPlugins as error:
                problems.extend(error.problems)
            else:
                found.append(Step(plugin, policy_of(use), clock, metrics))
        return tuple(found)

    plugins = PluginSet(
        filters=steps("filter", settings.filter, SECTIONS["filter"]),
        authenticators=steps("auth", settings.auth, SECTIONS["auth"]),
        signers=steps("signer", settings.signer, SECTIONS["signer"]),
        observers=steps("observer", settings.observer, SECTIONS["observer"]),
    )
    problems.extend(_unmet_needs(settings, plugins.filters))
    if problems:
        raise BadPlugins(tuple(problems), settings)
    _warn_of_weak_needs(plugins.filters, (each.name for each in settings.listener))
    return plugins


def policy_of(use: PluginUse) -> Policy:
    """How the configuration wants the plugin treated."""
    seconds = use.timeout.total_seconds()
    if isinstance(use, Filter):
        return Policy(seconds, use.on_error, use.mode == "shadow", frozenset(use.applies_to))
    return Policy(seconds)


def sections_for(hooks: Collection[str]) -> tuple[str, ...]:
    """The sections where a plugin with these hooks belongs: those that call most of them."""
    called = {name: sum(hook in hooks for hook in of) for name, of in SECTIONS.items()}
    most = max(called.values())
    return tuple(name for name, number in called.items() if most and number == most)


def load_plugin(settings: Settings, section: str, number: int, hooks: Sequence[str]) -> Plugin:
    """The plugin of one section, checked: `[[filter]]` number 0, say.

    hooks: of which it must have one. Raises BadPlugins with all that is wrong with it.
    """
    use: PluginUse = getattr(settings, section)[number]
    wrong: list[tuple[KeyPath, str]]
    try:
        kind = options_type(plugin_class(use.use))
        options = with_secrets(use.options, kind, settings.base_dir)
        plugin = load(use.use, use.name or use.use, options)
    except (UnreadableSecret, ValueError) as error:
        wrong = [(("options",), str(error))]
    except BadOptions as error:
        wrong = [(("options", *option), why) for option, why in error.problems]
    except BadPlugin as error:
        wrong = [(("use",), error.reason)]
    else:
        if any(hook in plugin.hooks for hook in hooks):
            return plugin
        wrong = [(("use",), _misplaced(plugin, section, hooks))]
    raise BadPlugins(
        tuple(settings.source.problem((section, number, *key), why) for key, why in wrong),
        settings,
    )


def _misplaced(plugin: Plugin, section: str, hooks: Sequence[str]) -> str:
    places = " or ".join(f"[[{place}]]" for place in sections_for(plugin.hooks))
    belongs = f"; it belongs under {places}" if places else ""
    lacking = f"it has none of the hooks called there ({', '.join(hooks)})"
    return f"{plugin.use} can't stand under [[{section}]]: {lacking}{belongs}"


def _unmet_needs(settings: Settings, steps: Sequence[Step]) -> Iterable[Problem]:
    places = {use.name or use.use: number for number, use in enumerate(settings.filter)}
    for place, step in enumerate(steps):
        for need in step.plugin.needs:
            if not any(other.meets(need) for other in steps[:place]):
                yield settings.source.problem(
                    ("filter", places[step.name], "use"),
                    f"{step.plugin.use} needs {need}, which must stand before it in the file",
                )


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
