"""What the commands share: the configuration's option, JSON, exit codes."""

import json
import os
from collections.abc import Coroutine
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

if TYPE_CHECKING:  # importing pydantic takes 0.1 s, which `--help` shouldn't cost
    from filterrelay.settings import Settings

T = TypeVar("T")

PLACES = (Path("filterrelay.toml"), Path("/etc/filterrelay/filterrelay.toml"))


class Exit(IntEnum):
    """How a command ends."""

    DONE = 0
    BAD = 1  # the thing asked about is bad
    USAGE = 2


ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "-c",
        "--config",
        metavar="FILE",
        help="The configuration file; ./filterrelay.toml, then /etc/filterrelay/filterrelay.toml "
        "when unsaid.",
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON document and nothing else.")
]


def command(help: str = "") -> typer.Typer:
    """A new app for one command's module; with several commands it becomes a group."""
    return typer.Typer(
        help=help or None,
        add_completion=False,
        no_args_is_help=bool(help),
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )


def find_config(config: Path | None) -> Path:
    """The configuration file said or found; wrong usage when there is none."""
    if config is not None:
        if not config.is_file():
            raise typer.BadParameter(f"there is no file {config}", param_hint="-c")
        return config
    for place in PLACES:
        if place.is_file():
            return place
    looked = " and ".join(str(place) for place in PLACES)
    raise typer.BadParameter(
        f"no configuration file: looked for {looked}; name one, or write one with "
        "`filterrelay init DIR`",
        param_hint="-c",
    )


def load_settings(config: Path | None) -> "Settings":
    """The settings of the file said or found. Raises SettingsError."""
    from filterrelay.settings.file import load

    return load(find_config(config), os.environ)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Runs one command's asynchronous work to its end."""
    import asyncio

    return asyncio.run(work)


def print_json(document: Any) -> None:
    """Prints one JSON document; times become ISO 8601 in UTC, paths and others text."""
    print(json.dumps(document, indent=2, ensure_ascii=False, default=_plain))


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    return str(value)


def iso(moment: datetime) -> str:
    """The time as the project writes it: ISO 8601, UTC, whole seconds."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def refuse(text: str, code: Exit = Exit.BAD) -> NoReturn:
    """Ends the command with a sentence on standard error."""
    typer.echo(f"filterrelay: {text}", err=True)
    raise typer.Exit(code)


def become_the_relay(settings: "Settings") -> None:
    """Root becomes the state directory's owner, so that the relay can use what is written there."""
    from filterrelay.supervisor.privileges import drop_to, owner_of

    if os.geteuid() == 0 and settings.state_dir.is_dir():
        drop_to(owner_of(settings.state_dir))
