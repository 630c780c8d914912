"""Whether a configuration file can be served: all that is wrong with it, at once."""

import os
from pathlib import Path

from filterrelay.chain.loader import BadPlugins, load_plugins
from filterrelay.observe.clock import SystemClock
from filterrelay.observe.metrics import Metrics
from filterrelay.settings import Settings
from filterrelay.settings.file import load
from filterrelay.settings.problems import Problem, SettingsError
from filterrelay.settings.unserved import unserved


def servable_settings(file: Path) -> Settings:
    """The file's settings, if this version can serve them with the plugins that are installed.

    Raises SettingsError with everything that keeps it from that, in the file's order.
    """
    problems: list[Problem] = []
    try:
        settings = load(file, os.environ)
    except SettingsError as error:
        if error.valid is None:
            raise
        problems += error.problems
        settings = error.valid
    problems += unserved(settings)
    try:
        load_plugins(settings, SystemClock(), Metrics())
    except BadPlugins as error:
        problems += error.problems
    if problems:
        raise SettingsError(tuple(sorted(problems, key=lambda one: one.line)), settings)
    return settings
