"""`filterrelay trace`: all that is known of a message, or which messages there were."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from filterrelay.cli.common import (
    ConfigOption,
    JsonOption,
    command,
    counted,
    iso,
    load_spool_settings,
    print_json,
    refuse,
    run,
)
from filterrelay.cli.layout import print_table
from filterrelay.cli.stored import SenderOption, check_patterns, opened_spool
from filterrelay.cli.story import fate, show_event

if TYPE_CHECKING:
    from filterrelay.settings import Settings
    from filterrelay.spool.selection import Search
    from filterrelay.spool.store import Event

_MOST = 50  # messages listed when nothing else is said

app = command()

SinceOption = Annotated[
    str,
    typer.Option("--since", metavar="TIME", help="Received since: 2h (ago), or 2026-01-31T09:00Z."),
]
UntilOption = Annotated[
    str, typer.Option("--until", metavar="TIME", help="Received until then, written as --since.")
]
RecipientOption = Annotated[
    str, typer.Option("--recipient", metavar="PATTERN", help="To here: *@partner.example, …")
]
LimitOption = Annotated[int, typer.Option("--limit", min=1, help="At most so many, newest first.")]


@app.command()
def trace(
    message_id: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help="From the 250 reply; or the queue ID of the mail server that asked.",
            show_default=False,
        ),
    ] = "",
    config: ConfigOption = None,
    sender: SenderOption = "",
    recipient: RecipientOption = "",
    since: SinceOption = "",
    until: UntilOption = "",
    limit: LimitOption = _MOST,
    as_json: JsonOption = False,
) -> None:
    """Tell all that is known of one message, or list those that came from, to and when.

    With an ID: client, filters, signature, each attempt. Without one: the messages
    that the options mean, refused ones too, and what became of each.
    """
    looked_for = any((sender, recipient, since, until))
    if bool(message_id) == looked_for:
        raise typer.BadParameter(
            "name one message by its ID, or look for some with --sender, --recipient, "
            "--since and --until"
        )
    settings = load_spool_settings(config)
    if message_id:
        _tell(settings, message_id.strip(), as_json=as_json)
    else:
        check_patterns(sender, recipient)
        _list(settings, _search(sender, recipient, since, until, limit), as_json=as_json)


def _tell(settings: "Settings", message_id: str, *, as_json: bool) -> None:
    events = run(_events(settings, message_id))
    if not events:
        refuse(
            f"nothing is known of {message_id}; traces are kept for {settings.spool.history.days} "
            "days after the message is gone"
        )
    if as_json:
        print_json({"id": events[0].message_id, "events": [_plain(e) for e in events]})
        return
    print(events[0].message_id)
    for event in events:
        show_event(event)


async def _events(settings: "Settings", message_id: str) -> "list[Event]":
    """By our ID, else of the last message that a mail server called so: it may use IDs again."""
    from filterrelay.spool.selection import Search

    async with opened_spool(settings) as (spool, _):
        if events := await spool.events(message_id.upper()):
            return events
        called_so = await spool.search(Search(queue_id=message_id, limit=1))
        return await spool.events(called_so[0].message_id) if called_so else []


def _plain(event: "Event") -> dict[str, Any]:
    return {"at": event.at, "kind": event.kind, **event.data}


def _search(sender: str, recipient: str, since: str, until: str, limit: int) -> "Search":
    from filterrelay.observe.clock import SystemClock
    from filterrelay.spool.selection import Search

    now = SystemClock().now()
    return Search(
        sender,
        recipient,
        since=_moment(since, now, "--since") if since else None,
        until=_moment(until, now, "--until") if until else None,
        limit=limit,
    )


def _moment(text: str, now: datetime, option: str) -> datetime:
    """The time meant: so long ago, or in ISO 8601, in UTC when it doesn't say."""
    from filterrelay.plugin.options import parse_duration

    with suppress(ValueError):
        said = datetime.fromisoformat(text)
        return said if said.tzinfo else said.replace(tzinfo=UTC)
    try:
        ago: datetime = now - parse_duration(text.removesuffix("ago").strip())
    except (ValueError, OverflowError):
        raise typer.BadParameter(
            f"{text!r} is no time; write 30m, 4h or 2d for so long ago, or 2026-01-31T09:00Z",
            param_hint=option,
        ) from None
    return ago


def _list(settings: "Settings", search: "Search", *, as_json: bool) -> None:
    found = run(_found(settings, search))
    if as_json:
        print_json([_summary(received, became) for received, became in found])
        return
    if found:
        titles = ("id", "received", "sender", "recipients", "verdict", "what became of it")
        print_table(titles, [_row(received, became) for received, became in found])
    more = "; --limit shows more" if len(found) == search.limit else ""
    print(f"{counted(len(found))}{more}")


async def _found(settings: "Settings", search: "Search") -> "list[tuple[Event, str]]":
    """How each message came in, and what became of it."""
    async with opened_spool(settings) as (spool, _):
        return [
            (received, fate(await spool.events(received.message_id)))
            for received in await spool.search(search)
        ]


def _summary(received: "Event", became: str) -> dict[str, Any]:
    data = received.data
    return {
        "id": received.message_id,
        "received": received.at,
        **{name: data[name] for name in ("sender", "recipients", "verdict", "by", "reply", "size")},
        "became": became,
    }


def _row(received: "Event", became: str) -> Sequence[str]:
    data = received.data
    recipients: list[str] = data["recipients"]
    more = f" and {len(recipients) - 2} more" if len(recipients) > 2 else ""
    return (
        received.message_id,
        iso(received.at),
        data["sender"] or "<>",
        ", ".join(recipients[:2]) + more,
        data["verdict"],
        became,
    )
