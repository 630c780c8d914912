"""docs/configuration.md says every key of the configuration file, as the settings have it.

`FILTERRELAY_WRITE_DOCS=1 pytest tests/test_configuration_page.py` writes it anew.
"""

import os
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from filterrelay.settings import Settings

PAGE = Path(__file__).parent.parent / "docs" / "configuration.md"
INTRODUCTION = """\
# The configuration file

One TOML file; `filterrelay init DIR` writes one with comments, and
`filterrelay check` says what is wrong with it: the line, the key, and the nearest
key that there is. Relative paths are relative to the file. Durations are written
`"15m"`, `"4h"`, `"5d"`; sizes `"50 MiB"`. `${NAME}` reads the environment, and keys
that end in `_file` read a secret from a file. `[[…]]` sections may be repeated.
"""


def sections(model: type[BaseModel], title: str = "") -> Iterator[str]:
    """A section of the page for a model, then one for each model within."""
    plain, nested = [], []
    for name, field in model.model_fields.items():
        inner = inner_model(field.annotation)
        if inner is None:
            plain.append(row(name, field))
        else:
            repeated = get_origin(field.annotation) is tuple
            nested.append((inner, f"[[{name}]]" if repeated else f"[{name}]"))
    heading = f"## `{title}`" if title else "## At the top"
    about = " ".join((model.__doc__ or "").partition("\n\n")[0].split())
    yield "\n".join(
        [heading, "", about, "", "| key | value | default | meaning |", "|---|---|---|---|", *plain]
    )
    for inner, inner_title in nested:
        yield from sections(inner, inner_title)


def inner_model(annotation: Any) -> type[BaseModel] | None:
    """The model of a section, if the annotation is one or a tuple of one."""
    candidates = get_args(annotation) if get_origin(annotation) is tuple else (annotation,)
    first = candidates[0] if candidates else None
    return first if isinstance(first, type) and issubclass(first, BaseModel) else None


def row(name: str, field: FieldInfo) -> str:
    """One key's line."""
    meaning = " ".join((field.description or "").split())
    return f"| `{name}` | {kind(field.annotation)} | {default(field)} | {meaning} |"


def kind(annotation: Any) -> str:
    """The sort of value that is written."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return kind(get_args(annotation)[0])
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in get_args(annotation))
    if origin is tuple:
        return f"list of {kind(get_args(annotation)[0])}"
    if origin in (Union, UnionType):
        return kind(next(a for a in get_args(annotation) if a is not type(None)))
    if origin is dict:
        return "the plugin's own"
    names = {
        "str": "text",
        "int": "number",
        "bool": "`true` or `false`",
        "timedelta": "duration",
        "Path": "path",
        "SecretStr": "secret",
        "AddressPattern": "address pattern",
        "IPv4Network": "network",
    }
    return names[annotation.__name__]


def default(field: FieldInfo) -> str:
    """What holds when the key isn't there."""
    if field.is_required():
        return "*required*"
    value = field.get_default(call_default_factory=True, validated_data={})
    match value:
        case timedelta():
            return f"`{duration(value)}`"
        case bool():
            return f"`{str(value).lower()}`"
        case int() if value >= 1024**2 and value % 1024**2 == 0:
            return f"`{value // 1024**2} MiB`"
        case None | "" | () | {}:
            return ""
        case _ if value is PydanticUndefined:
            return ""
        case _:
            return f"`{value}`"


def duration(value: timedelta) -> str:
    """As the file writes it, in the largest unit that goes."""
    seconds = int(value.total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def page() -> str:
    """The whole page."""
    return "\n\n".join([INTRODUCTION.rstrip(), *sections(Settings)]) + "\n"


def test_the_page_is_current() -> None:
    """Whoever changes a key changes its line, too."""
    if os.environ.get("FILTERRELAY_WRITE_DOCS"):
        PAGE.write_text(page())
    assert PAGE.read_text() == page()


def test_every_key_says_what_it_means() -> None:
    """No line of the page leaves the last column empty."""
    silent = [line for line in page().splitlines() if re.match(r"\| `.*\|\s+\|$", line)]
    assert not silent
