"""`filterrelay serve`: runs in the foreground until it is told to stop."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from filterrelay.cli.common import ConfigOption, command, find_config

if TYPE_CHECKING:
    from filterrelay.settings import Settings

app = command()


@app.command()
def serve(config: ConfigOption = None) -> None:
    """Run in the foreground; SIGTERM drains and stops, SIGHUP reloads."""
    from filterrelay.observe.log import configure
    from filterrelay.settings.file import load
    from filterrelay.supervisor.supervisor import Supervisor

    file = find_config(config)
    log = load(file, os.environ).log
    configure(log.format, log.level, final=False)
    raise typer.Exit(Supervisor(lambda: checked_settings(file)).run())


def checked_settings(file: Path) -> "Settings":
    """The file's settings, its plugins checked, its warnings logged. Raises FilterRelayError."""
    import structlog

    from filterrelay.chain.loader import load_plugins
    from filterrelay.observe.clock import SystemClock
    from filterrelay.observe.metrics import Metrics
    from filterrelay.settings.file import load, warnings
    from filterrelay.settings.unserved import NotServed, unserved

    settings = load(file, os.environ)
    if missing := tuple(unserved(settings)):
        raise NotServed(missing)
    load_plugins(settings, SystemClock(), Metrics())
    for warning in warnings(settings):
        structlog.get_logger("filterrelay").warning("configuration", warning=warning)
    return settings
