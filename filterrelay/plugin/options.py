"""Typed options: the base class, and the kinds of value that a configuration file writes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, SecretStr

from filterrelay.errors import FilterRelayError, why_unreadable

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)\Z")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|KB|KiB|MB|MiB|GB|GiB)?\Z", re.IGNORECASE)
_BYTES = {
    "": 1,
    "b": 1,
    "kb": 1000,
    "kib": 1024,
    "mb": 1000**2,
    "mib": 1024**2,
    "gb": 1000**3,
    "gib": 1024**3,
}


def parse_duration(value: Any) -> Any:
    """`"15m"` as a timedelta; anything but text is left for pydantic to judge."""
    if not isinstance(value, str):
        if isinstance(value, timedelta):
            return value
        raise ValueError('a duration is written with its unit, like "15m", "4h" or "5d"')
    matched = _DURATION.match(value.strip())
    if not matched:
        raise ValueError(f'{value!r} is no duration; write one like "30s", "15m", "4h" or "5d"')
    return timedelta(seconds=float(matched[1]) * _SECONDS[matched[2]])


def parse_size(value: Any) -> Any:
    """`"50 MiB"` as octets; a whole number is octets too."""
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 0:
            raise ValueError("a size can't be less than nothing")
        return value
    matched = _SIZE.match(value.strip()) if isinstance(value, str) else None
    if not matched:
        raise ValueError(f'{value!r} is no size; write one like "64 KiB" or "50 MiB"')
    return int(float(matched[1]) * _BYTES[(matched[2] or "").lower()])


def at_least(minimum: str) -> AfterValidator:
    """A lower bound for a Duration or a Size, written as the configuration file writes it."""
    least = parse_duration(minimum) if _DURATION.match(minimum) else parse_size(minimum)

    def bounded(value: Any) -> Any:
        if value < least:
            raise ValueError(f'must be at least "{minimum}"')
        return value

    return AfterValidator(bounded)


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
Size = Annotated[int, BeforeValidator(parse_size)]
Secret = SecretStr


class Options(BaseModel):
    """The base of every plugin's options: frozen, and unknown keys are errors.

    Each field carries a description (`Field(description=…)`): it is what
    `filterrelay plugins NAME` and the documentation show.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, use_attribute_docstrings=True
    )


class NoOptions(Options):
    """The options of a plugin that has none."""


def resolve_path(base_dir: Path, path: Path | str) -> Path:
    """The path as meant in a configuration file that lies in base_dir."""
    return base_dir / Path(path).expanduser()


@dataclass
class UnreadableSecret(FilterRelayError):
    """A file that should hold a secret can't be read."""

    file: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.file} can't be read: {self.reason}"


def read_secret_file(base_dir: Path, path: Path | str) -> str:
    """The file's text without the final line end. Raises UnreadableSecret."""
    file = resolve_path(base_dir, path)
    try:
        secret = file.read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise UnreadableSecret(file, why_unreadable(error)) from None
    except UnicodeDecodeError:
        raise UnreadableSecret(file, "it is not UTF-8 text") from None
    if not secret:
        raise UnreadableSecret(file, "it is empty")
    return secret


def with_secrets(
    options: Mapping[str, Any], kind: type[BaseModel], base_dir: Path
) -> dict[str, Any]:
    """The options with each `NAME_file` replaced by NAME, read from that file.

    Only where kind has a Secret called NAME and nothing called `NAME_file`. Raises
    UnreadableSecret, and ValueError when both are given or no file is named.
    """
    complete = dict(options)
    secrets = {name for name, field in kind.model_fields.items() if _is_secret(field.annotation)}
    for key, value in options.items():
        name = key.removesuffix("_file")
        if name == key or key in kind.model_fields or name not in secrets:
            continue
        if name in options:
            raise ValueError(f"give {name} or {key}, not both")
        if not (isinstance(value, str) and value):
            raise ValueError(f"{key} must name a file")
        del complete[key]
        complete[name] = read_secret_file(base_dir, value)
    return complete


def _is_secret(annotation: Any) -> bool:
    return Secret in (annotation, *get_args(annotation))
