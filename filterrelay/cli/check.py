"""`filterrelay check`: whether the configuration would serve."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from filterrelay.cli.common import (
    ConfigOption,
    Exit,
    JsonOption,
    command,
    console,
    find_config,
    print_json,
    run,
    safe,
)
from filterrelay.cli.layout import print_table

if TYPE_CHECKING:
    from filterrelay.cli.examination import Check
    from filterrelay.settings import Settings
    from filterrelay.settings.problems import SettingsError

app = command()


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
    stuck = sorted({one.waits for one in checks if one.waits})
    if as_json:
        print_json(
            {
                "would_serve": would_serve,
                "cannot_deliver_to": stuck,
                "problems": [],
                "checks": [
                    {"part": one.part, "name": one.name, "state": one.state, "text": one.text}
                    for one in checks
                ],
            }
        )
    else:
        failed = [one for one in checks if one.state == "failed"]
        root_only = any(one.part == "user" for one in checks)
        _show(checks, *_verdict(failed, stuck, root_only=root_only))
    raise typer.Exit(Exit.DONE if would_serve else Exit.BAD)


def _checks(file: Path) -> "list[Check]":
    """What there is to say of the file. Raises SettingsError."""
    from filterrelay.cli.examination import Check, account, examine, listening
    from filterrelay.cli.servable import servable_settings, unreachable_python
    from filterrelay.observe.clock import SystemClock
    from filterrelay.settings.file import warnings

    settings = servable_settings(file)
    checks = [Check("file", str(file), "ok", "is valid")]
    checks += [Check("file", str(file), "warning", text) for text in warnings(settings)]
    checks += account(settings)
    if why := unreachable_python(settings):
        checks.append(Check("user", settings.user, "failed", why))
    checks += listening(settings)  # sockets are bound before root is left
    _become_the_relay(settings)
    checks += _out_of_reach(file, settings)
    return checks + run(examine(settings, SystemClock()))


def _become_the_relay(settings: "Settings") -> None:
    """Goes on as the user that serves: what that one can't read must be found here."""
    from filterrelay.supervisor.privileges import account_of, drop_to, hand_over

    account = account_of(settings)
    if account is not None:
        hand_over(settings, account)
        drop_to(account)


def _out_of_reach(file: Path, settings: "Settings") -> "Iterator[Check]":
    """What root has read for the relay, and can't when systemd starts it as the relay's user."""
    from filterrelay.cli.examination import Check
    from filterrelay.settings.file import load
    from filterrelay.settings.problems import SettingsError

    try:
        load(file, os.environ)
    except SettingsError as error:
        for one in error.problems:
            yield Check("user", settings.user, "warning", str(one))


def _report_problems(error: "SettingsError", *, as_json: bool) -> None:
    if not as_json:
        typer.echo(safe(error), err=True)
        return
    print_json(
        {
            "would_serve": False,
            "cannot_deliver_to": [],
            "problems": [
                {"file": one.file, "line": one.line, "key": one.key, "text": one.text}
                for one in error.problems
            ],
            "checks": [],
        }
    )


def _show(checks: "list[Check]", verdict: str, style: str) -> None:
    from rich.text import Text

    rows = [(one.state, one.part, one.name, one.text) for one in checks]
    print_table(("", "part", "name", "found"), rows)
    console().print(Text(verdict, style=f"bold {style}"))


def _verdict(
    failed: "Sequence[Check]", stuck: Sequence[str], *, root_only: bool
) -> tuple[str, str]:
    """The last line, and its colour. stuck: the upstreams that take no mail now."""
    if failed and all(one.starts for one in failed):
        names = ", ".join(one.name for one in failed)
        return f"It would start, but put off or set aside mail that needs {names}.", "red"
    if failed:
        return "It would not serve.", "red"
    if root_only:
        return "It would serve if root starts it, but not under systemd as its own user.", "yellow"
    if stuck:
        names = ", ".join(stuck)
        return f"It would serve, but can't deliver now: {names}. Mail would wait.", "yellow"
    return "It would serve.", "green"
