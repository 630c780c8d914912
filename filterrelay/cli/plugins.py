"""`filterrelay plugins`: what is installed, and what each plugin can be told."""

import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

import typer

from filterrelay.cli.common import Exit, JsonOption, command, load_settings, print_json, safe

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from filterrelay.plugin.options import Options

app = command()

_MOST_SHOWN = 60  # characters of a default


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a plugin, as a person reads it. name: dotted below a list of tables."""

    name: str
    type: str
    default: str
    description: str


@app.command()
def plugins(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Describe this one.")] = "",
    config: Annotated[
        Path | None,
        typer.Option(
            "-c", "--config", metavar="FILE", help="Say in the list what this file makes of them."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the installed plugins; with a name, its description, hooks and options."""
    if not name:
        _list(_configured(config) if config is not None else {}, as_json=as_json)
    elif as_json:
        print_json(_plain(name))
    else:
        _describe(name)


def _configured(config: Path) -> dict[str, list[str]]:
    """The file's instances by the plugin that they use, each as `filter spam`."""
    settings = load_settings(config)
    configured: dict[str, list[str]] = {}
    for section in ("auth", "filter", "signer", "observer"):
        for use in getattr(settings, section):
            configured.setdefault(use.use, []).append(f"{section} {use.name}")
    return configured


def _list(configured: Mapping[str, list[str]], *, as_json: bool) -> None:
    from filterrelay.plugin.discovery import BadPlugin, installed, plugin_class

    found: list[dict[str, Any]] = []
    for name in sorted(installed()):
        try:
            cls = plugin_class(name)
        except BadPlugin as error:
            found.append({"name": name, "summary": error.reason, "hooks": []})
        else:
            found.append({"name": name, "summary": _summary(cls), "hooks": _hooks(cls)})
        found[-1]["configured"] = configured.get(name, [])
    if as_json:
        print_json(found)
        return
    width = max((len(one["name"]) for one in found), default=0)
    for one in found:
        instances = f" ({', '.join(one['configured'])})" if one["configured"] else ""
        print(safe(f"{one['name']:{width}}  {one['summary']}{instances}"))


def _plain(name: str) -> dict[str, Any]:
    from filterrelay.chain.loader import sections_for
    from filterrelay.plugin.discovery import plugin_class

    cls = plugin_class(name)
    return {
        "name": name,
        "description": inspect.getdoc(cls) or "",
        "sections": list(sections_for(_hooks(cls))),
        "hooks": _hooks(cls),
        "needs": list(getattr(cls, "needs", ())),
        "options": [
            {"name": o.name, "type": o.type, "default": o.default, "description": o.description}
            for o in options_of(cls)
        ],
    }


def _describe(name: str) -> None:
    told = _plain(name)
    print(f"{name}\n\n{told['description']}\n")
    print(f"section: {' or '.join(f'[[{section}]]' for section in told['sections']) or 'none'}")
    print(f"hooks: {', '.join(told['hooks'])}")
    if told["needs"]:
        print(f"needs: {', '.join(told['needs'])}")
    if told["options"]:
        print("\noptions:")
    for option in told["options"]:
        default = f" = {option['default']}" if option["default"] else ""
        print(f"\n  {option['name']}{default}  ({option['type']})")
        print(f"      {option['description']}")
    raise typer.Exit(Exit.DONE)


def _summary(cls: type[Any]) -> str:
    return (inspect.getdoc(cls) or "").partition("\n")[0].rstrip(".")


def _hooks(cls: type[Any]) -> list[str]:
    from filterrelay.plugin.discovery import HOOK_NAMES

    return [name for name in HOOK_NAMES if hasattr(cls, name)]


def options_of(cls: type[Any]) -> list[Option]:
    """The options of a plugin's class, those of tables in them included."""
    from filterrelay.plugin.discovery import options_type

    return list(_options(options_type(cls), ""))


def _options(kind: "type[Options]", prefix: str) -> "Iterator[Option]":
    from pydantic import BaseModel

    for name, field in kind.model_fields.items():
        description = " ".join((field.description or "").split())
        yield Option(f"{prefix}{name}", _type(field), _default(field), description)
        for inner in (field.annotation, *get_args(field.annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from _options(inner, f"{prefix}{name}[].")  # type: ignore[arg-type]  # only its fields are read


def _type(field: "FieldInfo") -> str:
    """What a configuration file writes for it."""
    return "size" if _is_size(field.metadata) else _type_name(field.annotation)


def _is_size(metadata: Iterable[Any]) -> bool:
    from filterrelay.plugin.options import parse_size

    return any(getattr(one, "func", None) is parse_size for one in metadata)


def _type_name(annotation: Any) -> str:
    from types import NoneType

    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return "size" if _is_size(inner[1:]) else _type_name(inner[0])
    if origin is Literal:
        return " | ".join(f'"{choice}"' for choice in inner)
    if origin is tuple or origin is list:
        return f"list of {_type_name(inner[0])}"
    if inner:
        return " or ".join(_type_name(one) for one in inner if one is not NoneType)
    names = {"str": "text", "int": "number", "float": "number", "bool": "true | false"}
    names |= {"timedelta": "duration", "Path": "path", "SecretStr": "secret", "dict": "table"}
    names |= {"Endpoint": "address", "AddressPattern": "address pattern"}
    name = getattr(annotation, "__name__", str(annotation))
    return names.get(name, "table" if name.endswith("Options") else name)


def _default(field: "FieldInfo") -> str:
    if field.is_required():
        return ""
    value = field.get_default(call_default_factory=True)
    text = f'"{_size(value)}"' if _type(field) == "size" and value else _written(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 1]}…"


def _written(value: Any) -> str:
    """A value as TOML has it; empty for none."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case int() | float():
            return str(value)
        case timedelta():
            return f'"{_duration(value)}"'
        case tuple() | list():
            return f"[{', '.join(map(_written, value))}]"
        case _:
            return f'"{value}"'


def _duration(value: timedelta) -> str:
    seconds = value.total_seconds()
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds and seconds % size == 0:
            return f"{seconds / size:g}{unit}"
    return f"{seconds:g}s"


def _size(octets: int) -> str:
    for unit, size in (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024)):
        if octets % size == 0:
            return f"{octets // size} {unit}"
    return str(octets)
