"""What the commands share: the configuration's option, JSON, exit codes."""

import json
import os
import re
import shlex
import shutil
import sys
import textwrap
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, Self, TypeVar

import typer

from filterrelay.errors import FilterRelayError, why_unreadable
from filterrelay.mail.printable import printable

if TYPE_CHECKING:  # importing pydantic or rich takes 0.1 s, which `--help` shouldn't cost
    from rich.console import Console

    from filterrelay.settings import Settings
    from filterrelay.supervisor.privileges import Account

T = TypeVar("T")

HELP_OPTIONS = ["-h", "--help"]
_UNBOUNDED = 10_000  # characters: the width of output that goes to no terminal
_BEYOND_ASCII = re.compile(r"[^ -~\n]")

_NOT_ALLOWED = ("Permission denied", "unable to open database file", "readonly database")

PLACES = (Path("filterrelay.toml"), Path("/etc/filterrelay/filterrelay.toml"))


class Exit(IntEnum):
    """How a command ends."""

    DONE = 0
    BAD = 1  # the thing asked about is bad
    USAGE = 2
    STOPPED = 130  # by Ctrl-C, as shells say it: 128 and the signal's number


@dataclass
class Refused(FilterRelayError):
    """The command ends with this sentence and exit code."""

    text: str
    code: Exit

    def __str__(self) -> str:
        return self.text


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
UnusedConfigOption = Annotated[
    Path | None,
    typer.Option(
        "-c",
        "--config",
        metavar="FILE",
        help="Taken as by every command; it means nothing here.",
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
        context_settings={"help_option_names": HELP_OPTIONS},
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


def program() -> str:
    """How this program was called, to tell a person what to type next."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m filterrelay"
    found = shutil.which(called.name)
    if found is not None and called.is_absolute() and Path(found) == called:
        return called.name
    return shlex.quote(sys.argv[0])


def load_settings(config: Path | None) -> "Settings":
    """The settings of the file said or found. Raises SettingsError."""
    from filterrelay.settings.file import load

    return load(find_config(config), os.environ)


def load_spool_settings(config: Path | None) -> "Settings":
    """The settings for commands that need the spool alone. Raises SettingsError.

    They do without the certificate, its key and the upstreams' passwords, which
    who asks may not be able to read.
    """
    from filterrelay.settings.problems import SettingsError

    try:
        return load_settings(config)
    except SettingsError as error:
        keys = [problem.key for problem in error.problems]
        if error.valid and all(k.startswith("tls.") or k.endswith(".password_file") for k in keys):
            return error.valid
        raise


def run(work: Coroutine[Any, Any, T]) -> T:
    """Runs one command's asynchronous work to its end. Raises Refused at Ctrl-C."""
    import asyncio

    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        refuse("stopped before it was done", Exit.STOPPED)


def print_json(document: Any) -> None:
    """Prints one JSON document; times become ISO 8601 in UTC, paths and others text.

    Letters stand as they are; what a terminal would obey, or UTF-8 can't hold, is escaped.
    """
    print(_json_text(document))


class JsonList:
    """One JSON document, a list whose elements are printed as they come; a context manager."""

    def __init__(self) -> None:
        self._between = "["

    def print(self, element: Any) -> None:
        """Prints one more element, as print_json would."""
        print(f"{self._between}\n{textwrap.indent(_json_text(element), '  ')}", end="")
        self._between = ","

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            print("[]" if self._between == "[" else "\n]")


def _json_text(document: Any) -> str:
    text = json.dumps(document, indent=2, ensure_ascii=False, default=_plain)
    return _BEYOND_ASCII.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    return found[0] if found[0].isprintable() else json.dumps(found[0])[1:-1]


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    return str(value)


def iso(moment: datetime) -> str:
    """The time as the project writes it: ISO 8601, UTC, whole seconds."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def counted(count: int, kind: str = "") -> str:
    """So many messages, as `1 message` or `2 spam messages`; kind has its blank with it."""
    return f"{count} {kind}message{'' if count == 1 else 's'}"


def console() -> "Console":
    """Where tables go: as wide as the terminal, and without bounds in a pipe or a file."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else _UNBOUNDED)


def safe(text: object) -> str:
    """What it says, without anything that a terminal would take for a command.

    For all that strangers wrote: addresses, file names, replies, what plugins found.
    """
    return printable(str(text), keep="\n")


def refuse(text: str, code: Exit = Exit.BAD) -> NoReturn:
    """Ends the command with a sentence. Raises Refused."""
    raise Refused(text, code)


def fail(text: str, code: Exit, *, as_json: bool) -> NoReturn:
    """Ends the program with a sentence on standard error, or with a document that holds it."""
    if as_json:
        print_json({"error": text})
    else:
        typer.echo(f"filterrelay: {safe(text)}", err=True)
    raise SystemExit(code)


@cache
def by_root() -> bool:
    """Whether root called the program, whoever it has become since: `main` asks at once."""
    return os.geteuid() == 0


def told(error: Exception) -> str:
    """An error as a sentence for the operator."""
    said = _said(error)
    if not by_root() and any(words in said for words in _NOT_ALLOWED):
        return f"{said}; run it as root, or as the user that the relay runs as (filterrelay)"
    return said


def _said(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {why_unreadable(error)}"
    return str(error) or type(error).__name__


def relay_account(settings: "Settings | None" = None) -> "Account | None":
    """The user that serves, when root has to act for it and that user is there.

    settings: None when the file is still to be written. Raises NoSuchUser.
    """
    from filterrelay.settings import Settings
    from filterrelay.supervisor.privileges import account_of, account_to_become

    if settings is None:
        return account_to_become(Settings.model_fields["user"].default, chosen=False)
    return account_of(settings)


def give_to(path: Path, account: "Account | None") -> None:
    """Lets the user that serves read what root has written."""
    if account is not None:
        os.chown(path, account.uid, account.gid)


def become_the_relay(settings: "Settings") -> None:
    """Root becomes the state directory's owner, so that the relay can use what is written there."""
    from filterrelay.supervisor.privileges import drop_to, owner_of

    if os.geteuid() == 0 and settings.state_dir.is_dir():
        drop_to(owner_of(settings.state_dir))
