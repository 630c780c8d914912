"""Whether a configuration file can be served: all that is wrong with it, at once."""

import grp
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from filterrelay.chain.loader import BadPlugins, load_plugins
from filterrelay.observe.clock import SystemClock
from filterrelay.observe.metrics import Metrics
from filterrelay.settings import Settings
from filterrelay.settings.file import load
from filterrelay.settings.problems import Problem, SettingsError
from filterrelay.settings.unserved import unserved
from filterrelay.supervisor.privileges import Account, NoSuchUser, account_of


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
    problems += _account(settings)
    problems += _groups(settings)
    try:
        load_plugins(settings, SystemClock(), Metrics())
    except BadPlugins as error:
        problems = [*_without_names(problems, error), *error.problems]
    if problems:
        raise SettingsError(tuple(sorted(problems, key=lambda one: one.line)), settings)
    return settings


def _without_names(problems: list[Problem], error: BadPlugins) -> Iterator[Problem]:
    """The problems but those with names of plugins that can't be used there at all."""
    misplaced = {one.key.removesuffix(".use") for one in error.problems if one.key.endswith(".use")}
    for one in problems:
        if one.key.removesuffix(".name") not in misplaced:
            yield one


def _account(settings: Settings) -> Iterator[Problem]:
    """That there is the user that root shall become."""
    try:
        account_of(settings)
    except NoSuchUser as error:
        yield settings.source.problem(("user",), str(error))


def _groups(settings: Settings) -> Iterator[Problem]:
    """That there are the groups that sockets shall have."""
    for index, listener in enumerate(settings.listener):
        try:
            if listener.group:
                grp.getgrnam(listener.group)
        except KeyError:
            why = f"there is no group {listener.group!r} on this machine"
            yield settings.source.problem(("listener", index, "group"), why)


def unreachable_python(settings: Settings) -> str:
    """What keeps the user that root becomes from running this program, or empty.

    It may serve for all that: what is loaded before root is left needs no reading.
    """
    account = account_of(settings)
    if account is None or can_run(account, Path(sys.executable)):
        return ""
    places = " and ".join(dict.fromkeys((sys.base_prefix, sys.prefix)))
    return (
        f"user {account.name} can't run the Python that this is, in {places}: "
        "make the environment with /usr/bin/python3, outside of root's home"
    )


def can_run(account: Account, python: Path) -> bool:
    """Whether that user may read that Python and this program, tried as it."""
    try:
        done = subprocess.run(  # noqa: S603  # the very Python that runs this
            [python, "-P", "-c", "import filterrelay, filterrelay_plugins"],
            cwd="/",
            user=account.uid,
            group=account.gid,
            extra_groups=os.getgrouplist(account.name, account.gid),
            capture_output=True,
            check=False,
        )
    except OSError:
        return False
    return done.returncode == 0
