"""The program `filterrelay`: finds the command's module and imports only that."""

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from filterrelay import __version__
from filterrelay.cli.common import HELP_OPTIONS, Exit, Refused, by_root, fail, told
from filterrelay.errors import FilterRelayError

COMMANDS = {
    "init": "Write a configuration, keys and a certificate to begin with.",
    "check": "Say whether the configuration would serve.",
    "serve": "Run in the foreground.",
    "health": "Say whether the relay that runs takes mail.",
    "demo": "Show the whole appliance with sample messages.",
    "scan": "Run stored messages through the filters, sending nothing.",
    "trace": "Tell all that is known of one message.",
    "route": "Say which way the mail to an address goes, and why.",
    "queue": "Look at and act on mail that waits for delivery.",
    "quarantine": "Look at and act on mail that filters set aside.",
    "user": "Manage local accounts.",
    "dkim": "Make DKIM keys and DNS records, and check them.",
    "learn": "Train the embedded spam classifier from sorted mail.",
    "plugins": "List the installed plugins, or describe one.",
}


class Commands(TyperGroup):
    """The group of all commands; a command's module is imported when it is called."""

    def __init__(self, **attributes: Any) -> None:
        """Puts a placeholder in each command's place, enough for --help."""
        super().__init__(**attributes)
        for name, help_text in COMMANDS.items():
            self.add_command(TyperCommand(name=name, help=help_text, rich_markup_mode=None))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # typer hides click's types
        """The real command in its placeholder's place."""
        name, placeholder, rest = super().resolve_command(ctx, args)
        if placeholder is None:
            return name, placeholder, rest
        if name != "serve":  # whose log is its output
            _log_to_standard_error()
        return name, get_command(import_module(f"filterrelay.cli.{name}").app), rest


def _log_to_standard_error() -> None:
    """Warnings go beside the output, which is the command's own: text or one JSON document."""
    from filterrelay.observe.log import Options, configure

    configure(Options("console", "warning"), sys.stderr)


app = typer.Typer(
    cls=Commands,
    help="A mail filter that runs as an appliance.",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": HELP_OPTIONS},
    rich_markup_mode=None,  # importing rich's help takes longer than all the rest
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"filterrelay {__version__}")
        raise typer.Exit(Exit.DONE)


@app.callback()
def program(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Print the version."
        ),
    ] = False,
) -> None:
    """A mail filter that runs as an appliance."""


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point. What goes wrong ends in one sentence, never in a traceback."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in given
    by_root()
    try:
        # With --json wrong usage comes here, too, instead of being printed with a usage line.
        sys.exit(app(given, prog_name="filterrelay", standalone_mode=not as_json))
    except Refused as refused:
        fail(str(refused), refused.code, as_json=as_json)
    except typer.TyperException as usage:
        fail(usage.format_message(), Exit(usage.exit_code), as_json=as_json)
    except typer.Abort:
        fail("stopped before it was done", Exit.BAD, as_json=as_json)
    except (FilterRelayError, OSError, UnicodeDecodeError) as error:
        fail(told(error), Exit.BAD, as_json=as_json)
