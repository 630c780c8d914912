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
    from filterrelay.cli.servable import servable_settings
    from filterrelay.observe.log import configure
    from filterrelay.settings.log import log_options
    from filterrelay.supervisor.activation import PassedSockets
    from filterrelay.supervisor.notify import ServiceManager
    from filterrelay.supervisor.supervisor import Supervisor

    manager, passed = ServiceManager(os.environ), PassedSockets(os.environ)
    file = find_config(config)
    configure(log_options(servable_settings(file)), final=False)
    raise typer.Exit(Supervisor(lambda: checked_settings(file), manager, passed).run())


def checked_settings(file: Path) -> "Settings":
    """The file's settings, its plugins checked, its warnings logged. Raises FilterRelayError."""
    import structlog

    from filterrelay.cli.servable import servable_settings, unreachable_python
    from filterrelay.settings.file import warnings

    settings = servable_settings(file)
    dangers = [*warnings(settings), unreachable_python(settings)]
    for warning in filter(None, dangers):
        structlog.get_logger("filterrelay").warning("configuration", reason=warning)
    return settings
