"""What is wrong in a configuration file: all of it at once, each with its line."""

import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from filterrelay.errors import FilterRelayError
from filterrelay.plugin.faults import dotted, faults, nearest
from filterrelay.settings.toml_lines import Path as KeyPath
from filterrelay.settings.toml_lines import key_lines, line_of

if TYPE_CHECKING:
    from filterrelay.settings.models import Settings

Hidden = tuple[tuple[str, str], ...]


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
    """The configuration file can't be used.

    valid: its sections that are right by themselves, for those who can say more of
    them; None when the file isn't even TOML.
    """

    problems: tuple[Problem, ...]
    valid: "Settings | None" = field(default=None, repr=False)

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

    def explain(self, error: ValidationError, model: type[BaseModel]) -> list[Problem]:
        """What pydantic found in the file as model, each with its line, no values shown."""
        found = faults(error, model, lambda key, table: _unknown_key(key, table, model))
        return [self.problem(path, text) for path, text in found]


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
