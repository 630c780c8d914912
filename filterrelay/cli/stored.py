"""What `queue` and `quarantine` share: choosing stored messages, and showing them."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from filterrelay.cli.common import become_the_relay, print_json, refuse, safe

if TYPE_CHECKING:
    from filterrelay.settings import Settings
    from filterrelay.spool.store import Selection, Spool, State, StoredMessage

_PIPE = 2000  # columns of what is no terminal

IdsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[ID]…", help="Messages, by ID.", show_default=False)
]
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The message's ID.")]
SenderOption = Annotated[
    str, typer.Option("--sender", metavar="PATTERN", help="From here: *@office.example, …")
]
RecipientOption = Annotated[
    str,
    typer.Option(
        "--recipient", metavar="PATTERN", help="Not yet delivered to: *@partner.example, …"
    ),
]
UpstreamOption = Annotated[
    str, typer.Option("--upstream", metavar="NAME", help="Last tried at this next hop.")
]
OlderOption = Annotated[
    str, typer.Option("--older-than", metavar="TIME", help="Received that long ago: 30m, 4h, 2d.")
]
LimitOption = Annotated[
    int | None, typer.Option("--limit", min=1, help="At most so many, oldest first.")
]
AllOption = Annotated[bool, typer.Option("--all", help="Every message.")]


@dataclass(frozen=True, slots=True)
class Choice:
    """Which messages the operator named on the command line."""

    ids: Sequence[str] | None = None
    sender: str = ""
    recipient: str = ""
    upstream: str = ""
    older_than: str = ""
    limit: int | None = None
    every: bool = field(default=False, kw_only=True)

    def selection(self, *states: "State") -> "Selection":
        """The spool's words for it; wrong usage when the time or a pattern can't be read."""
        from filterrelay.mail.address import AddressPattern
        from filterrelay.plugin.options import parse_duration
        from filterrelay.spool.store import Selection

        age: timedelta | None = None
        if self.older_than:
            try:
                age = parse_duration(self.older_than)
            except ValueError as bad:
                raise typer.BadParameter(str(bad), param_hint="--older-than") from None
        for option, pattern in (("--sender", self.sender), ("--recipient", self.recipient)):
            try:
                AddressPattern(pattern or "*")
            except ValueError as bad:
                raise typer.BadParameter(str(bad), param_hint=option) from None
        return Selection(
            states=states,
            ids=tuple(id_.strip().upper() for id_ in self.ids or ()),
            sender=self.sender,
            recipient=self.recipient,
            upstream=self.upstream,
            older_than=age,
            limit=self.limit,
        )

    def must_name_something(self) -> None:
        """Wrong usage when nothing was named: no command changes all mail by accident."""
        named = (self.ids, self.sender, self.recipient, self.upstream, self.older_than, self.every)
        if not any(named):
            raise typer.BadParameter("name messages by ID or by a filter, or say --all")


@asynccontextmanager
async def opened_spool(settings: "Settings") -> "AsyncIterator[tuple[Spool, datetime]]":
    """The configuration's spool, and the time now."""
    from filterrelay.app import spool_of
    from filterrelay.observe.clock import SystemClock

    become_the_relay(settings)
    clock = SystemClock()
    spool = spool_of(settings, None, clock)
    await spool.open()
    try:
        yield spool, clock.now()
    finally:
        await spool.close()


async def chosen(
    spool: "Spool", choice: Choice, now: datetime, *states: "State"
) -> "list[StoredMessage]":
    """The messages named; refuses when an ID is none of them."""
    selection = choice.selection(*states)
    found = await spool.select(selection, now)
    missing = set(selection.ids) - {message.id for message in found}
    if missing:
        stands = " or ".join(state.value for state in states)
        refuse(f"no {stands} message {', '.join(sorted(missing))} is here")
    return found


def plain(message: "StoredMessage") -> dict[str, Any]:
    """The message as JSON has it."""
    return {
        "id": message.id,
        "state": message.state.value,
        "received": message.received,
        "sender": message.envelope.return_path,
        "size": message.size,
        "reason": message.reason,
        "by": message.by,
        "next_attempt": next_attempt(message),
        "leased_to": message.lease.owner if message.lease else None,
        "leased_until": message.lease.until if message.lease else None,
        "recipients": [
            {
                "address": str(stored.recipient),
                "state": stored.state.value,
                "attempts": stored.attempts,
                "next_attempt": stored.next_attempt,
                "upstream": stored.upstream,
                "last_reply": stored.last_reply,
            }
            for stored in message.recipients
        ],
    }


def next_attempt(message: "StoredMessage") -> datetime | None:
    """When the first of its recipients is tried again."""
    return min((r.next_attempt for r in message.pending() if r.next_attempt), default=None)


def report_change(done: str, count: int, *, as_json: bool) -> None:
    """Says how many messages were changed. done: as `deleted`."""
    if as_json:
        print_json({done: count})
    else:
        print(f"{done}: {count} message{'' if count == 1 else 's'}")


def print_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints rows as a table; what is in them is shown as it is, never as markup.

    A terminal gets long cells folded, a pipe one line a row.
    """
    import sys

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in titles:
        right = title in ("size", "attempts")
        table.add_column(
            title, overflow="fold", no_wrap=title == "id", justify="right" if right else "left"
        )
    for row in rows:
        table.add_row(*(Text(safe(cell)) for cell in row))
    width = None if sys.stdout.isatty() else _PIPE
    Console(highlight=False, width=width).print(table)


def print_fields(fields: Mapping[str, str]) -> None:
    """Prints names and values, those that are empty left out."""
    width = max(map(len, fields))
    for name, value in fields.items():
        if value:
            print(f"{name:<{width}}  {safe(value)}")


def header_of(body: bytes) -> str:
    """The message's header section as text."""
    return body.partition(b"\r\n\r\n")[0].decode("utf-8", "replace").replace("\r\n", "\n")
