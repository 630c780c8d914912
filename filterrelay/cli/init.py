"""`filterrelay init`: a directory with all that a first start needs."""

import os
import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import typer

from filterrelay.cli.common import command
from filterrelay.errors import FilterRelayError

app = command()

SELECTOR = "s1"
SYSTEM_DIR = Path("/etc/filterrelay")
_SYSTEM_STATE = "/var/lib/filterrelay"
_SOMEWHERE = "relay.office.example"  # when the machine doesn't know its full name
_USERS = """\
# Who may log in: `filterrelay user add LOGIN` writes lines of  login:{ARGON2ID}…
"""


@dataclass
class AlreadyThere(FilterRelayError):
    """A file would have to be overwritten."""

    files: tuple[Path, ...]

    def __str__(self) -> str:
        return f"{', '.join(map(str, self.files))} already there; nothing was written"


@dataclass(frozen=True, slots=True)
class Plan:
    """What to write: texts by path below the directory, and which of them are secret."""

    content: Mapping[str, bytes]
    secret: frozenset[str]


@app.command()
def init(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where to; made if need be.")],
    hostname: Annotated[str, typer.Option(help="The relay's name; the machine's if unsaid.")] = "",
    domain: Annotated[str, typer.Option(help="Whose mail is signed; hostname's if unsaid.")] = "",
    upstream: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="The smart host.")
    ] = "smtp.provider.example:587",
) -> None:
    """Write filterrelay.toml, a DKIM key, a self-signed certificate and an empty user file."""
    hostname = hostname or _own_name()
    domain = domain or hostname.partition(".")[2] or hostname
    found = found_here()
    state_dir = _SYSTEM_STATE if directory.resolve() == SYSTEM_DIR else "state"
    text = configuration(
        {
            "hostname": hostname,
            "domain": domain,
            "selector": SELECTOR,
            "upstream": upstream,
            "state_dir": state_dir,
        },
        found,
    )
    _write(directory, _plan(text, hostname))
    _tell(directory, domain, upstream, found)


def _own_name() -> str:
    name = socket.getfqdn()
    return name if "." in name and not name.startswith("localhost") else _SOMEWHERE


def found_here() -> dict[str, dict[str, Any]]:
    """The plugins whose daemons run on this machine, each with the options to reach it."""
    from filterrelay.plugin.discovery import BadPlugin, installed, plugin_class

    found: dict[str, dict[str, Any]] = {}
    for name in sorted(installed()):
        try:
            look = getattr(plugin_class(name), "found_here", None)
        except BadPlugin:
            continue
        if look is not None and (options := look()) is not None:
            found[name] = options
    return found


def configuration(words: Mapping[str, str], found: Mapping[str, Mapping[str, Any]]) -> str:
    """The template with its words put in and a filter for each daemon found."""
    text = files("filterrelay.cli").joinpath("template.toml").read_text(encoding="utf-8")
    for word, value in words.items():
        text = text.replace(f"@{word}@", value)
    return text.replace("@found@\n", "".join(_filter(name, found[name]) for name in found) + "\n")


def _filter(name: str, options: Mapping[str, Any]) -> str:
    lines = ["", "[[filter]]                    # found on this machine", f'use = "{name}"']
    if options:
        lines.append("[filter.options]")
        lines += [f'{option} = "{value}"' for option, value in options.items()]
    return "".join(f"{line}\n" for line in lines)


def _plan(text: str, hostname: str) -> Plan:
    from filterrelay.observe.clock import SystemClock
    from filterrelay.wire.certificate import self_signed
    from filterrelay.wire.dkim_key import make_key

    certificate, key = self_signed([hostname], SystemClock().now())
    return Plan(
        {
            "filterrelay.toml": text.encode(),
            "tls/fullchain.pem": certificate,
            "tls/privkey.pem": key,
            f"dkim/{SELECTOR}.pem": make_key("rsa").pem,
            "users": _USERS.encode(),
        },
        frozenset({"tls/privkey.pem", f"dkim/{SELECTOR}.pem", "users"}),
    )


def _write(directory: Path, plan: Plan) -> None:
    """Writes all files or, when one is there, none. Raises AlreadyThere."""
    there = tuple(directory / name for name in plan.content if (directory / name).exists())
    if there:
        raise AlreadyThere(there)
    for name, content in plan.content.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = 0o600 if name in plan.secret else 0o644
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
        if name in plan.secret:
            _give_to_the_relay(path)


def _give_to_the_relay(path: Path) -> None:
    """Lets the user that serves read it, when root has written it."""
    from filterrelay.settings import Settings
    from filterrelay.supervisor.privileges import NoSuchUser, account_to_become

    try:
        account = account_to_become(Settings.model_fields["user"].default)
    except NoSuchUser:
        return
    if account is not None:
        shutil.chown(path, account.uid, account.gid)


def _tell(directory: Path, domain: str, upstream: str, found: Mapping[str, Any]) -> None:
    """Prints what was written and the next three steps."""
    file = directory / "filterrelay.toml"
    filters = ", ".join(("attachments", "spam", *found))
    print(f"Wrote {file}, with the filters {filters}.\n")
    print(f"1. Say in {file} where mail goes: [[upstream]] is {upstream} now.")
    print(f"2. Let somebody in:      filterrelay user add LOGIN -c {file}")
    print(f"   and publish the key that signs for {domain}:")
    print(f"                         filterrelay dkim record -c {file}")
    print("3. See if it would serve, and start it:")
    print(f"                         filterrelay check -c {file}")
    print(f"                         filterrelay serve -c {file}")
