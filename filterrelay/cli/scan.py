"""`filterrelay scan`: stored messages through the chain, without sending anything."""

from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from filterrelay.cli.common import (
    ConfigOption,
    Exit,
    JsonOption,
    command,
    load_settings,
    print_json,
    run,
    safe,
)
from filterrelay.cli.mail_files import must_be_files, with_standard_input

if TYPE_CHECKING:
    from filterrelay.chain.run import Judgement
    from filterrelay.mail.envelope import Envelope
    from filterrelay.mail.session import Session
    from filterrelay.settings import Listener, Settings

app = command()


@app.command()
def scan(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="MESSAGE",
            callback=must_be_files,
            help="Stored messages; - is standard input.",
        ),
    ],
    config: ConfigOption = None,
    sender: Annotated[str, typer.Option("--from", help="The envelope's sender.")] = "",
    recipient: Annotated[str, typer.Option("--to", help="The envelope's recipient.")] = "",
    client: Annotated[
        str, typer.Option(metavar="IP", help="The client's address; one of this machine if unsaid.")
    ] = "",
    listener: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="As if it came to this listener; the first smtp one if unsaid."
        ),
    ] = "",
    login: Annotated[str, typer.Option(help="As if this user had logged in.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Run stored messages through the filters and show what each says.

    Ends with 0 when all would pass, and with 1 when one would be refused, put off, set
    aside or thrown away.
    """
    from filterrelay.mail.address import BadAddress
    from filterrelay.mail.verdict import Pass

    settings = load_settings(config)
    session = _session(settings, listener_of(settings, listener), _address(client), login)
    try:
        envelope = _envelope(sender, recipient)
    except BadAddress as error:
        raise typer.BadParameter(str(error)) from None
    judged = run(_judge(settings, session, envelope, files))
    if as_json:
        print_json([_plain(file, result) for file, result in zip(files, judged, strict=True)])
    else:
        for file, result in zip(files, judged, strict=True):
            _show(file, result)
    if not all(isinstance(result.verdict, Pass) for result in judged):
        raise typer.Exit(Exit.BAD)


def _session(settings: "Settings", listener: "Listener", client: str, login: str) -> "Session":
    """The session as that listener would have it."""
    from filterrelay.doors.policy import DoorPolicy
    from filterrelay.mail.session import Identity, Session

    door = DoorPolicy(listener, settings.limits, settings.hostname)
    return Session(
        id="SCAN",
        listener=listener.name,
        door=listener.kind,
        client_ip=client,
        helo="scan",
        esmtp=True,
        identity=Identity(login) if login else None,
        trusted=door.trusts(client),
    )


def listener_of(settings: "Settings", name: str) -> "Listener":
    """The one of that name; the first smtp listener, or the first of any kind, when unsaid."""
    if not name:
        smtp = [each for each in settings.listener if each.kind == "smtp"]
        return (*smtp, *settings.listener)[0]
    for each in settings.listener:
        if each.name == name:
            return each
    names = ", ".join(each.name for each in settings.listener)
    raise typer.BadParameter(f"there is {names}", param_hint="--listener")


def _address(client: str) -> str:
    """The client's address as sessions have it; empty when unsaid."""
    from filterrelay.doors.proxy_protocol import plain_address

    try:
        return str(ip_address(plain_address(client))) if client else ""
    except ValueError:
        raise typer.BadParameter(f"{client!r} is no IP address", param_hint="--client") from None


def _envelope(sender: str, recipient: str) -> "Envelope":
    from filterrelay.mail.address import parse_mailbox
    from filterrelay.mail.envelope import Envelope, Recipient

    to = (Recipient(parse_mailbox(recipient, utf8=True)),) if recipient else ()
    return Envelope(parse_mailbox(sender, utf8=True) if sender else None, to, smtputf8=True)


async def _judge(
    settings: "Settings", session: "Session", envelope: "Envelope", files: list[Path]
) -> "list[Judgement]":
    from filterrelay.app import running_chain, running_resolver
    from filterrelay.mail.message import Message
    from filterrelay.observe.clock import SystemClock
    from filterrelay.observe.metrics import Metrics

    with with_standard_input(files) as named:
        clock = SystemClock()
        async with (
            running_resolver(settings, clock) as resolver,
            running_chain(settings, resolver, metrics=Metrics(), clock=clock) as chain,
        ):
            return [
                await chain.judge(session, envelope, Message.stored(file.name, file.read_bytes()))
                for file in named
            ]


def _plain(file: Path, judged: "Judgement") -> dict[str, Any]:
    from filterrelay.intake.record import steps_facts
    from filterrelay.mail.edits import describe
    from filterrelay.mail.verdict import name_of

    return {
        "file": str(file),
        "verdict": name_of(judged.verdict),
        "by": judged.by,
        "steps": steps_facts(judged.steps),
        "edits": [describe(edit) for edit in judged.edits],
    }


def _show(file: Path, judged: "Judgement") -> None:
    from filterrelay.cli.story import show_steps
    from filterrelay.intake.record import steps_facts
    from filterrelay.mail.verdict import name_of

    by = f" by {judged.by}" if judged.by else ""
    print(f"{safe(file)}: {name_of(judged.verdict)}{by}")
    show_steps(steps_facts(judged.steps))
