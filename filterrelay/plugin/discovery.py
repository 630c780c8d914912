"""From an entry point's name to a checked plugin instance.

What a plugin's author gets wrong is said here, at start, in a sentence: a hook
that doesn't exist, one that isn't async, a parameter that no hook has, an
option that the plugin doesn't know.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, get_args

import pluggy
from pydantic import BaseModel, ValidationError

from filterrelay.errors import FilterRelayError
from filterrelay.plugin.faults import KeyPath, dotted, faults, nearest
from filterrelay.plugin.hooks import PROJECT, Hooks, Reads
from filterrelay.plugin.options import NoOptions, Options

GROUP = "filterrelay.plugins"
READS: tuple[Reads, ...] = get_args(Reads)
HOOK_NAMES = tuple(name for name in vars(Hooks) if not name.startswith("_"))


@dataclass
class BadPlugin(FilterRelayError):
    """The plugin can't be used as it is."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"plugin {self.name}: {self.reason}"


@dataclass
class BadOptions(FilterRelayError):
    """The plugin's options are wrong.

    problems: pairs of the option's path below the options and what is wrong with it.
    """

    name: str
    problems: tuple[tuple[KeyPath, str], ...]

    def __str__(self) -> str:
        return "; ".join(
            f"plugin {self.name}: option {dotted(path)}: {why}"
            if path
            else f"plugin {self.name}: {why}"
            for path, why in self.problems
        )


@dataclass(frozen=True, slots=True)
class BoundHook:
    """One hook as one plugin implements it: the bound method and its parameters."""

    call: Callable[..., Any]
    parameters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plugin:
    """A checked instance. name: the instance's; use: its entry point's."""

    name: str
    use: str
    instance: Any
    needs: tuple[str, ...]
    edits: bool
    reads: Reads
    hooks: Mapping[str, BoundHook]


def installed() -> dict[str, EntryPoint]:
    """The entry points of all installed plugins, by name."""
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def plugin_class(use: str) -> type[Any]:
    """The class behind an entry-point name. Raises BadPlugin."""
    known = installed()
    if use not in known:
        raise BadPlugin(use, f"no such plugin is installed{nearest(use, known)}")
    try:
        found = known[use].load()
    except Exception as error:  # a stranger's module may raise anything while it is imported
        raise BadPlugin(use, f"it can't be imported: {error}") from error
    if not isinstance(found, type):
        raise BadPlugin(use, f"its entry point must name a class, not {type(found).__name__}")
    return found


def options_type(cls: type[Any]) -> type[Options]:
    """The class of a plugin's options. Raises BadPlugin."""
    kind = getattr(cls, "options_type", NoOptions)
    if not (isinstance(kind, type) and issubclass(kind, Options)):
        raise BadPlugin(cls.__name__, "its options_type must be a subclass of Options")
    return kind


def validate_options(use: str, cls: type[Any], options: Mapping[str, Any]) -> Options:
    """The options, checked. Raises BadOptions, which never shows a value, and BadPlugin."""
    kind = options_type(cls)
    try:
        return kind.model_validate(dict(options))
    except ValidationError as error:
        raise BadOptions(use, tuple(faults(error, kind, _no_such_option))) from None
    except Exception as error:  # a stranger's validator may raise anything
        raise BadPlugin(use, f"its options can't be checked: {_told(error)}") from error


def _no_such_option(key: str, table: type[BaseModel] | None) -> str:
    return f"there is no such option{nearest(key, table.model_fields if table else ())}"


def load(use: str, name: str, options: Mapping[str, Any]) -> Plugin:
    """A checked instance of the plugin `use`, called `name`. Raises BadPlugin, BadOptions."""
    return check(use, name, plugin_class(use), options)


def check(use: str, name: str, cls: type[Any], options: Mapping[str, Any]) -> Plugin:
    """The same for a class at hand."""
    instance = _made(name, cls, validate_options(name, cls, options))
    hooks = _hooks(name, instance)
    edits = bool(getattr(instance, "edits", False))
    return Plugin(name, use, instance, _needs(name, cls), edits, _reads(name, instance), hooks)


def _made(name: str, cls: type[Any], options: Options) -> Any:
    try:
        inspect.signature(cls).bind(options)
    except (TypeError, ValueError) as error:
        raise BadPlugin(name, f"its constructor must take its options alone: {error}") from error
    try:
        return cls(options)
    except (BadPlugin, BadOptions):
        raise
    except Exception as error:  # a stranger's constructor may raise anything
        raise BadPlugin(name, f"it can't be made from its options: {_told(error)}") from error


def _needs(name: str, cls: type[Any]) -> tuple[str, ...]:
    needs = getattr(cls, "needs", ())
    if isinstance(needs, tuple | list) and all(isinstance(need, str) for need in needs):
        return tuple(needs)
    written = repr(needs) if isinstance(needs, str) else '"spf"'
    raise BadPlugin(name, f"needs must be a tuple of plugins' names: write `needs = ({written},)`")


def _reads(name: str, instance: Any) -> Reads:
    said = getattr(instance, "reads", "body")
    for reads in READS:
        if said == reads:
            return reads
    raise BadPlugin(name, f"reads must be one of {', '.join(map(repr, READS))}, not {said!r}")


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _hooks(name: str, instance: Any) -> dict[str, BoundHook]:
    for hook_name in HOOK_NAMES:
        method = getattr(instance, hook_name, None)
        if method is not None and not hasattr(method, f"{PROJECT}_impl"):
            raise BadPlugin(name, f"{hook_name} is a hook's name but isn't marked with @hook")
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(Hooks)
    try:
        manager.register(instance, name)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise BadPlugin(name, _explain(instance, error)) from None
    hooks: dict[str, BoundHook] = {}
    for hook_name in HOOK_NAMES:
        for implementation in getattr(manager.hook, hook_name).get_hookimpls():
            _check_kind(name, hook_name, implementation.function)
            hooks[hook_name] = BoundHook(implementation.function, tuple(implementation.argnames))
    if not hooks:
        raise BadPlugin(name, f"it implements no hook; there are {', '.join(HOOK_NAMES)}")
    return hooks


def _explain(instance: Any, error: pluggy.PluginValidationError) -> str:
    for attribute in dir(instance):
        marked = hasattr(getattr(instance, attribute, None), f"{PROJECT}_impl")
        if marked and attribute not in HOOK_NAMES:
            return f"there is no hook {attribute}{nearest(attribute, HOOK_NAMES)}"
        if marked:
            allowed = list(inspect.signature(getattr(Hooks, attribute)).parameters)[1:]
            taken = list(inspect.signature(getattr(instance, attribute)).parameters)
            wrong = [p for p in taken if p not in allowed]
            if wrong:
                return (
                    f"{attribute} has no parameter {', '.join(wrong)}; it may take "
                    f"{', '.join(allowed)}"
                )
    return str(error)


def _check_kind(name: str, hook_name: str, function: Callable[..., Any]) -> None:
    if hook_name == "lifespan":
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            raise BadPlugin(name, "lifespan must be decorated with @hook and @asynccontextmanager")
    elif not inspect.iscoroutinefunction(function):
        raise BadPlugin(name, f"{hook_name} must be a coroutine: write `async def {hook_name}`")
