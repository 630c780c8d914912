"""`filterrelay init`: a directory with all that a first start needs."""

import json
import os
import socket
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import typer

from filterrelay.cli.common import UnusedConfigOption, command, give_to, program, relay_account
from filterrelay.cli.postfix import Postfix, read_postfix
from filterrelay.errors import FilterRelayError

app = command()

SELECTOR = "s1"
_SYSTEM = Path("/etc")  # what is configured here keeps its state below /var (FHS 3.0 section 5.8)
_SYSTEM_STATE = "/var/lib/filterrelay"
_SOMEWHERE = "relay.office.example"  # when the machine doesn't know its full name
_PROVIDER = "smtp.provider.example:587"  # when nobody says where mail goes
_TLS_KEY = "tls/privkey.pem"
_DKIM_KEY = f"dkim/{SELECTOR}.pem"
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
    secret: Collection[str]


@app.command()
def init(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where to; made if need be.")],
    hostname: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="The relay's full name; Postfix's or the machine's if unsaid."
        ),
    ] = "",
    domain: Annotated[
        str, typer.Option(metavar="NAME", help="Whose mail is signed; hostname's if unsaid.")
    ] = "",
    upstream: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="The smart host; an example if unsaid.")
    ] = "",
    postfix: Annotated[
        bool, typer.Option("--postfix", help="Be a milter of this machine's Postfix.")
    ] = False,
    postfix_config: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Its configuration's directory, when not its own."),
    ] = None,
    config: UnusedConfigOption = None,
) -> None:
    """Write filterrelay.toml, a DKIM key, a self-signed certificate and an empty user file."""
    server = read_postfix(postfix_config) if postfix or postfix_config else None
    if server is not None and upstream:
        why = "Postfix delivers, so there is no smart host"
        raise typer.BadParameter(why, param_hint="--upstream")
    hostname = hostname or _full(server.hostname if server else socket.getfqdn())
    examples = _examples(hostname, domain, upstream or ("none" if server else ""))
    hostname = _domain_name(hostname or _SOMEWHERE, "--hostname")
    domain = _domain_name(domain or hostname.partition(".")[2] or hostname, "--domain")
    upstream = _smart_host(upstream or _PROVIDER)
    found = found_here()
    state_dir = _SYSTEM_STATE if directory.resolve().is_relative_to(_SYSTEM) else "state"
    text = configuration(
        {
            "hostname": hostname,
            "domain": domain,
            "selector": SELECTOR,
            "upstream": upstream,
            "state_dir": state_dir,
        },
        found,
        server,
    )
    plan = _plan(text, hostname, serves_clients=server is None)
    _write(directory, plan)
    print(
        f"Wrote {directory / 'filterrelay.toml'}, with the filters {', '.join(filters_in(text))}.\n"
    )
    _tell_examples(examples)
    _tell_user([directory / name for name in plan.secret])
    _tell_steps(directory / "filterrelay.toml", domain, server)


def _domain_name(text: str, option: str) -> str:
    """The name, if it can be a domain's; else wrong usage."""
    from filterrelay.mail.address import BadAddress, parse_mailbox

    try:
        parse_mailbox(f"postmaster@{text}")
    except BadAddress:
        raise typer.BadParameter(f"{text!r} is no domain name", param_hint=option) from None
    return text


def _smart_host(text: str) -> str:
    """The address as it was written, if it is one; else wrong usage."""
    from filterrelay.mail.endpoint import parse_endpoint

    try:
        endpoint = parse_endpoint(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--upstream") from None
    if endpoint.is_unix:
        why = "a smart host isn't reached over a Unix socket; LMTP servers are"
        raise typer.BadParameter(why, param_hint="--upstream")
    return text


def _full(name: str) -> str:
    """The name, or empty when it is none that others know."""
    known = "." in name and not name.startswith("localhost") and not name.endswith(".localdomain")
    return name if known else ""


def _examples(hostname: str, domain: str, upstream: str) -> list[str]:
    """The options that nobody gave and nothing here could tell: their places get examples."""
    wanted = {
        "--hostname": hostname,
        "--domain": domain or hostname,
        "--upstream": upstream,
    }
    return [option for option, value in wanted.items() if not value]


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


def configuration(
    words: Mapping[str, str],
    found: Mapping[str, Mapping[str, Any]],
    server: Postfix | None = None,
) -> str:
    """The template with its words put in and a filter for each daemon found.

    server: the Postfix that mail comes from and goes to, in place of clients and a smart host.
    """
    doors = _template("template_postfix.toml" if server else "template_smtp.toml")
    text = _template("template.toml").replace("@doors@\n", doors)
    if server is not None:
        text = text.replace("@trusted@", json.dumps(server.networks))
        words = {**words, "socket": f"unix:{server.socket}", "group": server.group}
    for word, value in words.items():
        text = text.replace(f"@{word}@", _escaped(value))
    return text.replace("@found@\n", "".join(_filter(name, found[name]) for name in found) + "\n")


def _template(name: str) -> str:
    return files("filterrelay.cli").joinpath(name).read_text(encoding="utf-8")


def _escaped(value: str) -> str:
    """The value as it stands between quotation marks in TOML, whose escapes JSON's are."""
    return json.dumps(value, ensure_ascii=False)[1:-1]


def filters_in(text: str) -> list[str]:
    """The filters that a configuration switches on, by the plugins' names."""
    return [one["use"] for one in tomllib.loads(text)["filter"]]


def _filter(name: str, options: Mapping[str, Any]) -> str:
    lines = ["", "[[filter]]                    # found on this machine", f'use = "{name}"']
    if options:
        lines.append("[filter.options]")
        lines += [f'{option} = "{_escaped(str(value))}"' for option, value in options.items()]
    return "".join(f"{line}\n" for line in lines)


def _plan(text: str, hostname: str, *, serves_clients: bool) -> Plan:
    """All files. serves_clients: whether they need a certificate and logins."""
    from filterrelay.observe.clock import SystemClock
    from filterrelay.wire.certificate import self_signed
    from filterrelay.wire.dkim_key import make_key

    content = {"filterrelay.toml": text.encode(), _DKIM_KEY: make_key("rsa").pem}
    if not serves_clients:
        return Plan(content, (_DKIM_KEY,))
    certificate, key = self_signed([hostname], SystemClock().now())
    for_clients = {"tls/fullchain.pem": certificate, _TLS_KEY: key, "users": _USERS.encode()}
    return Plan({**content, **for_clients}, (_TLS_KEY, _DKIM_KEY, "users"))


def _write(directory: Path, plan: Plan) -> None:
    """Writes all files or, when one is there, none. Raises AlreadyThere."""
    account = relay_account()
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
            give_to(path, account)


def _tell_examples(examples: list[str]) -> None:
    """Prints what stands in the file that nobody said."""
    if examples:
        print(f"Not said and not known here, so examples stand there: {', '.join(examples)}.")
        print("Change them in the file, or remove what was written and say them to init.\n")


def _tell_user(secret: list[Path]) -> None:
    """Prints how to make the user that the relay becomes, where root has none."""
    if os.geteuid() == 0 and relay_account() is None:
        print("There is no user filterrelay yet. Make it, and give it what only it may read:")
        print("   adduser --system --group --home /var/lib/filterrelay filterrelay")
        print(f"   chown filterrelay {' '.join(map(str, secret))}\n")


def _tell_steps(file: Path, domain: str, server: Postfix | None) -> None:
    """Prints the next three steps, and what Postfix needs."""
    me = program()
    if server is None:
        print(f"1. Look through {file}: your certificate, the smart host's login.")
        print(f"2. Let somebody in:      {me} user add LOGIN -c {file}")
        print(f"   and publish the key that signs for {domain}:")
    else:
        print(f"1. Look through {file}.")
        if server.is_chrooted:
            print("   Make the socket's folder, where a chrooted Postfix sees it:")
            folder = server.socket.parent
            print(f"   install -d -o filterrelay -g {server.group} -m 2750 {folder}")
        print(f"2. Publish the key that signs for {domain}:")
    print(f"                         {me} dkim record -c {file}")
    print("3. See if it would serve, and start it:")
    print(f"                         {me} check -c {file}")
    print(f"                         {me} serve -c {file}")
    if server is not None:
        _tell_postfix(server)


def _tell_postfix(server: Postfix) -> None:
    """Prints what Postfix needs to ask us."""
    print("\nThen put these lines at the end of Postfix's main.cf, and `postfix reload`:\n")
    for line in server.lines():
        print(line)  # not indented, or main.cf would add it to the line before it
    for note in server.notes():
        print(f"\nMind that {note}.")
