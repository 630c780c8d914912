"""`filterrelay check`: whether the configuration would serve."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from filterrelay.cli.common import (
    ConfigOption,
    Exit,
    JsonOption,
    command,
    find_config,
    print_json,
    run,
    safe,
)

if TYPE_CHECKING:
    from filterrelay.cli.examination import Check
    from filterrelay.settings import Settings
    from filterrelay.settings.problems import SettingsError

app = command()

_STYLES = {"ok": "green", "warning": "yellow", "failed": "bold red"}


@app.command()
def check(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Validate the file and the plugins' options, open the spool, try daemons and upstreams."""
    from filterrelay.settings.problems import SettingsError

    file = find_config(config)
    try:
        checks = _checks(file)
    except SettingsError as error:
        _report_problems(error, as_json=as_json)
        raise typer.Exit(Exit.BAD) from None
    would_serve = all(one.state != "failed" for one in checks)
    if as_json:
        print_json(
            {
                "would_serve": would_serve,
                "problems": [],
                "checks": [
                    {"part": one.part, "name": one.name, "state": one.state, "text": one.text}
                    for one in checks
                ],
            }
        )
    else:
        _show(checks, would_serve=would_serve)
    raise typer.Exit(Exit.DONE if would_serve else Exit.BAD)


def _checks(file: Path) -> "list[Check]":
    """What there is to say of the file. Raises SettingsError."""
    from filterrelay.cli.examination import Check, examine, listening
    from filterrelay.cli.servable import servable_settings
    from filterrelay.observe.clock import SystemClock
    from filterrelay.settings.file import warnings

    settings = servable_settings(file)
    checks = [Check("file", str(file), "ok", "is valid")]
    checks += [Check("file", str(file), "warning", text) for text in warnings(settings)]
    checks += listening(settings)  # sockets are bound before root is left
    _become_the_relay(settings)
    return checks + run(examine(settings, SystemClock()))


def _become_the_relay(settings: "Settings") -> None:
    """Goes on as the user that serves: what that one can't read must be found here."""
    from filterrelay.supervisor.privileges import account_to_become, drop_to, hand_over

    account = account_to_become(settings.user)
    if account is not None:
        hand_over(settings, account)
        drop_to(account)


def _report_problems(error: "SettingsError", *, as_json: bool) -> None:
    if not as_json:
        typer.echo(safe(error), err=True)
        return
    print_json(
        {
            "would_serve": False,
            "problems": [
                {"file": one.file, "line": one.line, "key": one.key, "text": one.text}
                for one in error.problems
            ],
            "checks": [],
        }
    )


def _show(checks: "list[Check]", *, would_serve: bool) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("", "part", "name", "found"):
        table.add_column(title, overflow="fold")
    for one in checks:
        state = Text(one.state, style=_STYLES[one.state])
        table.add_row(state, Text(one.part), Text(safe(one.name)), Text(safe(one.text)))
    console = Console(highlight=False)
    console.print(table)
    verdict = "It would serve." if would_serve else "It would not serve."
    console.print(Text(verdict, style="bold green" if would_serve else "bold red"))
