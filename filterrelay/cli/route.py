"""`filterrelay route`: which way an address's mail goes, and why."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from filterrelay.cli.common import (
    ConfigOption,
    Exit,
    JsonOption,
    become_the_relay,
    command,
    load_spool_settings,
    print_json,
    run,
)
from filterrelay.cli.layout import print_fields

if TYPE_CHECKING:
    from filterrelay.delivery.route import Routes, Way
    from filterrelay.mail.envelope import Envelope, Recipient
    from filterrelay.settings import Settings

app = command()

Found = tuple["Recipient", "Way"]


@app.command()
def route(
    addresses: Annotated[list[str], typer.Argument(metavar="ADDRESS", help="Recipients.")],
    config: ConfigOption = None,
    sender: Annotated[
        str, typer.Option("--sender", metavar="ADDRESS", help="Who sends; <> if unsaid.")
    ] = "",
    login: Annotated[str, typer.Option(help="As if this user had logged in.")] = "",
    listener: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="As if it came to this listener; the first smtp one if unsaid."
        ),
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Say which way the mail to an address goes, and why; nothing is sent.

    Ends with 0 when all of it would be sent or thrown away on purpose, and with 1 when
    some would be rejected, or has no way to go now.
    """
    from filterrelay.cli.scan import listener_of

    settings = load_spool_settings(config)
    came_to = listener_of(settings, listener).name
    envelope = _envelope(sender, addresses)
    found = run(_found(settings, envelope, login, came_to))
    told = [_told(settings, recipient, way) for recipient, way in found]
    if as_json:
        print_json(told)
    else:
        _show(told)
    if any(way.answer is not None and way.answer.code // 100 != 2 for _, way in found):
        raise typer.Exit(Exit.BAD)


def _envelope(sender: str, recipients: Sequence[str]) -> "Envelope":
    from filterrelay.mail.address import BadAddress, parse_mailbox
    from filterrelay.mail.envelope import Envelope, Recipient

    try:
        to = tuple(Recipient(parse_mailbox(text, utf8=True)) for text in recipients)
        whose = parse_mailbox(sender, utf8=True) if sender not in ("", "<>") else None
    except BadAddress as error:
        raise typer.BadParameter(f"{error.text}: {error}") from None
    return Envelope(whose, to, smtputf8=True)


async def _found(
    settings: "Settings", envelope: "Envelope", login: str, listener: str
) -> list[Found]:
    """Each recipient's way, with the servers that DNS names where it is direct delivery."""
    async with _routes(settings) as routes:
        ways = []
        for recipient in envelope.recipients:
            way = await routes.choose(envelope, recipient, login, listener)
            ways.append((recipient, await routes.located(way, recipient)))
        return ways


@asynccontextmanager
async def _routes(settings: "Settings") -> "AsyncIterator[Routes]":
    """The routes; the plugins run only if one of them routes."""
    from filterrelay.app import running_chain, running_resolver
    from filterrelay.chain.chain import Chain
    from filterrelay.chain.loader import load_plugins
    from filterrelay.delivery.configured import known_destinations, routes_of
    from filterrelay.observe.clock import SystemClock
    from filterrelay.observe.metrics import Metrics

    become_the_relay(settings)
    clock = SystemClock()
    plugins_route = Chain(load_plugins(settings, clock, Metrics()), 0).routes
    async with (
        running_resolver(settings, clock) as resolver,
        known_destinations(settings, resolver, "route", clock) as known,
    ):
        if not plugins_route:
            yield routes_of(settings, None, known)
            return
        async with running_chain(settings, resolver, metrics=Metrics(), clock=clock) as chain:
            yield routes_of(settings, chain.route, known)


def _told(settings: "Settings", recipient: "Recipient", way: "Way") -> dict[str, Any]:
    """What there is to say of one recipient, as JSON has it."""
    from filterrelay.settings.toml_lines import line_of

    lines = settings.source.lines
    hop = way.hop
    told: dict[str, Any] = {
        "address": str(recipient),
        "upstream": hop.upstream,
        "reason": way.reason,
        "line": line_of(lines, ("route", way.rule - 1)) if way.rule else None,
        "reply": str(way.answer) if way.answer else None,
        "hop": str(hop),
    }
    upstream = next((each for each in settings.upstream if each.name == hop.upstream), None)
    if way.answer is None:
        hosts = [host for group in way.site.hosts for host in group] if way.site else []
        told |= {
            "protocol": upstream.protocol if upstream else hop.upstream,
            "hosts": hosts or list(upstream.hosts if upstream else ()),
            "tls": hop.tls or (upstream.tls if upstream else ""),
            "destination": hop.shape,
            "limits": _limits(settings, hop.shape),
        }
    return told


def _limits(settings: "Settings", destination: str) -> dict[str, Any]:
    """What the [[destination]] of that name limits."""
    for each in settings.destination:
        if each.name == destination:
            limits = each.model_dump(exclude={"name", "domains"})
            return {name: value for name, value in limits.items() if value}
    return {}


def _show(told: Sequence[dict[str, Any]]) -> None:
    for number, one in enumerate(told):
        if number:
            print()
        line = f" (line {one['line']})" if one["line"] else ""
        limits = ", ".join(f"{name} {value}" for name, value in one.get("limits", {}).items())
        print_fields(
            {
                "address": one["address"],
                "goes to": f"{one['upstream'] or 'nowhere'}{_spoken(one)}",
                "because": f"{one['reason']}{line}",
                "answer": one["reply"] or "",
                "hosts": ", ".join(one.get("hosts", ())),
                "tls": one.get("tls", ""),
                "limits": f"{one['destination']}: {limits}" if limits else "",
            }
        )


def _spoken(one: dict[str, Any]) -> str:
    protocol = one.get("protocol", "")
    return f" ({protocol})" if protocol not in ("", one["upstream"]) else ""
