"""What is wrong in a configuration file: all of it at once, each with its line."""

import re
import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from filterrelay.errors import FilterRelayError
from filterrelay.plugin.discovery import nearest
from filterrelay.settings.toml_lines import Path as KeyPath
from filterrelay.settings.toml_lines import key_lines, line_of

Hidden = tuple[tuple[str, str], ...]

_KEY_PART = re.compile(r"\[(\d+)\]|([^.\[\]]+)")
_CHOICE = re.compile(r"'([^']*)'")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in the file.

    line: counted from 1; 0 when it concerns the whole file. key: dotted, as
    `listener[1].tls`; empty for the whole file.
    """

    file: Path
    line: int
    key: str
    text: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else str(self.file)
        return f"{where}: {self.key}: {self.text}" if self.key else f"{where}: {self.text}"


@dataclass
class SettingsError(FilterRelayError):
    """The configuration file can't be used."""

    problems: tuple[Problem, ...]

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


@dataclass(frozen=True)
class Source:
    """The file that settings came from, to say where in it something is wrong.

    hidden: what came from the environment and no message may show, by the path
    where it was put: pairs of the text and what the file has in its place.
    """

    file: Path
    lines: Mapping[KeyPath, int] = field(default_factory=dict, repr=False)
    hidden: Mapping[KeyPath, Hidden] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, file: Path, text: str, hidden: Mapping[KeyPath, Hidden]) -> "Source":
        """The source that is the file with this text."""
        return cls(file, key_lines(text), hidden)

    def problem(self, path: KeyPath, text: str) -> Problem:
        """The problem with the key of that path: `("listener", 1, "tls")`."""
        for end in range(1, len(path) + 1):
            for secret, shown in self.hidden.get(path[:end], ()):
                text = text.replace(repr(secret)[1:-1], shown).replace(secret, shown)
        return Problem(self.file, line_of(self.lines, path), dotted(path), text)

    def explain(
        self, error: ValidationError, model: type[BaseModel], prefix: KeyPath = ()
    ) -> list[Problem]:
        """What pydantic found, each with its line and the nearest right word, no values shown.

        prefix: the path of the table that was validated as model.
        """
        found = error.errors(include_url=False)
        inside = {details["loc"][:1] for details in found if len(details["loc"]) > 1}
        problems = [
            self.problem((*prefix, *details["loc"]), _explanation(details, model))
            for details in found
            # pydantic takes an array whose elements are all wrong for an empty one
            if not (details["type"] == "too_short" and details["loc"] in inside)
        ]
        return sorted(problems, key=lambda problem: problem.line)


def path_of(key: str) -> KeyPath:
    """The path that is written so: the reverse of `dotted`."""
    return tuple(int(index) if index else name for index, name in _KEY_PART.findall(key))


def dotted(path: Iterable[str | int]) -> str:
    """The path as people write it: `listener[1].tls`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


def _explanation(details: ErrorDetails, root: type[BaseModel]) -> str:
    """One of pydantic's errors in this project's words."""
    location = details["loc"]
    message = details["msg"].removeprefix("Value error, ").replace("Input should", "should")
    match details["type"]:
        case "extra_forbidden":
            return _unknown_key(str(location[-1]), _model_at(root, location[:-1]), root)
        case "literal_error":
            choices = _CHOICE.findall(details["ctx"]["expected"])
            given = details["input"]
            close = nearest(given, choices) if isinstance(given, str) else ""
            return message + (close if "did you mean" in close else "")
        case "missing":
            return "is required"
        case "too_short":
            return "at least one is required"
        case _:
            return message


def _unknown_key(key: str, model: type[BaseModel] | None, root: type[BaseModel]) -> str:
    """Names the nearest key of the table, or of another one, or all keys of the table."""
    if model is None:
        return "there is no such key"
    if get_close_matches(key, model.model_fields, n=1):
        return f"there is no such key{nearest(key, model.model_fields)}"
    homes: dict[str, list[str]] = {}
    for home, name in _all_keys(root, ""):
        homes.setdefault(name, []).append(f"[{home}]" if home else "the top of the file")
    for name in get_close_matches(key, homes, n=1):
        return f"there is no such key here; did you mean {name} in {' or '.join(homes[name])}?"
    return f"there is no such key{nearest(key, model.model_fields)}"


def _model_at(root: type[BaseModel], location: Iterable[str | int]) -> type[BaseModel] | None:
    """The model of the table at that place, None when no model describes it."""
    current: type[BaseModel] | None = root
    for part in location:
        if isinstance(part, int) or current is None:
            continue
        known = current.model_fields.get(part)
        current = _model_in(known.annotation) if known else None
    return current


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model that an annotation is, or is a tuple, a list or an option of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (tuple, list, Union, types.UnionType):
        for argument in get_args(annotation):
            if found := _model_in(argument):
                return found
    return None


def _all_keys(model: type[BaseModel], home: str) -> Iterator[tuple[str, str]]:
    """Every key that the file may have, with the dotted name of its table."""
    for name, known in model.model_fields.items():
        yield home, name
        if inner := _model_in(known.annotation):
            yield from _all_keys(inner, f"{home}.{name}" if home else name)
