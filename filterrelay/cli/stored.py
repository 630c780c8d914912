"""What `queue` and `quarantine` share: choosing stored messages, and showing them."""

import gc
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, assert_never

import typer

from filterrelay.cli.common import Exit, become_the_relay, counted, print_json, refuse

if TYPE_CHECKING:
    from filterrelay.settings import Settings
    from filterrelay.spool.selection import Selection
    from filterrelay.spool.store import Spool, State, StoredMessage

IdsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="ID", help="Messages, by ID.", show_default=False)
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
    str,
    typer.Option(
        "--upstream", metavar="HOP", help="Waiting for this upstream or hop: provider, mx:x.example"
    ),
]
OlderOption = Annotated[
    str, typer.Option("--older-than", metavar="TIME", help="Received that long ago: 30m, 4h, 2d.")
]
StateOption = Annotated[
    str, typer.Option("--state", metavar="STATE", help="Only these: queued or held.")
]
LimitOption = Annotated[
    int | None, typer.Option("--limit", min=1, help="At most so many, oldest first.")
]
RawOption = Annotated[
    bool, typer.Option("--raw", help="The message itself and nothing else, for `> x.eml`.")
]
STOPPED = ", then stopped by Ctrl-C"

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
    state: str = ""
    every: bool = field(default=False, kw_only=True)

    def selection(self, *states: "State") -> "Selection":
        """The spool's words for it; wrong usage when something said can't be read.

        states: those that the command is about.
        """
        from filterrelay.plugin.options import parse_duration
        from filterrelay.spool.selection import Selection

        age: timedelta | None = None
        if self.older_than:
            try:
                age = parse_duration(self.older_than)
            except ValueError as bad:
                raise typer.BadParameter(str(bad), param_hint="--older-than") from None
        check_patterns(self.sender, self.recipient)
        if self.state and self.state not in states:
            there = " or ".join(states)
            raise typer.BadParameter(f"here it is {there}", param_hint="--state")
        return Selection(
            states=tuple(state for state in states if self.state in ("", state)),
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
            raise typer.BadParameter(
                "name messages by ID or by a filter, such as --recipient, or say --all"
            )

    def must_know_upstream(self, settings: "Settings") -> None:
        """Wrong usage when no upstream has that name: it would look as if there were no mail.

        For when there was none; mail may wait for an upstream that the file no longer has.
        """
        from filterrelay.mail.hop import Hop
        from filterrelay.settings.complaints import no_such
        from filterrelay.settings.routes import DIRECT, DISCARD, REJECT

        known = {*(upstream.name for upstream in settings.upstream), DIRECT, DISCARD, REJECT}
        if self.upstream and Hop.parse(self.upstream).upstream not in known:
            raise typer.BadParameter(
                no_such("upstream", self.upstream, known), param_hint="--upstream"
            )


def check_patterns(sender: str, recipient: str) -> None:
    """Wrong usage when one of them can match nobody."""
    from filterrelay.mail.address import AddressPattern

    for option, pattern in (("--sender", sender), ("--recipient", recipient)):
        try:
            AddressPattern(pattern or "*")
        except ValueError as bad:
            raise typer.BadParameter(str(bad), param_hint=option) from None


@asynccontextmanager
async def opened_spool(settings: "Settings") -> "AsyncIterator[tuple[Spool, datetime]]":
    """The configuration's spool, and the time now."""
    from filterrelay.app import spool_of
    from filterrelay.observe.clock import SystemClock

    become_the_relay(settings)
    clock = SystemClock()
    spool = spool_of(settings, None, clock)
    # Stopped by Ctrl-Z while it is its turn to write, it would hold up all mail.
    before = signal.signal(signal.SIGTSTP, signal.SIG_IGN)
    gc.freeze()  # or what was imported is looked through again and again: a third of all the work
    try:
        await spool.open()
        try:
            yield spool, clock.now()
        finally:
            await spool.close()
    finally:
        gc.unfreeze()
        signal.signal(signal.SIGTSTP, before)


async def chosen(
    spool: "Spool", choice: Choice, now: datetime, *states: "State"
) -> "list[StoredMessage]":
    """The messages named; refuses when an ID is none of them."""
    found = await spool.select(choice.selection(*states), now)
    known = {message.id for message in found}
    for typed in choice.ids or ():
        if typed.strip().upper() not in known:
            await named(spool, typed, *states)
    return found


async def named(spool: "Spool", typed: str, *states: "State") -> "StoredMessage":
    """The message of that ID, in one of those states; refuses in words when it isn't."""
    from filterrelay.spool.store import NoSuchMessage

    id_ = typed.strip()
    try:
        message = await spool.get(id_.upper())
    except NoSuchMessage:
        refuse(f"there is no message {id_} here; `filterrelay trace {id_}` tells what became of it")
    if message.state not in states:
        refuse(f"{id_} {_standing(message.state)}")
    return message


def _standing(state: "State") -> str:
    """Where the message stands, and the command that acts on it there."""
    from filterrelay.spool.store import State

    match state:
        case State.QUEUED:
            return "is queued; `queue retry` tries it now"
        case State.HELD:
            return "is held; `queue release` frees it"
        case State.QUARANTINED:
            return "is in quarantine; `quarantine release` sends it on"
        case _:
            assert_never(state)


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
                "redirect": stored.redirect,
            }
            for stored in message.recipients
        ],
    }


def next_attempt(message: "StoredMessage") -> datetime | None:
    """When the first of its recipients is tried again, if it isn't set aside."""
    from filterrelay.spool.store import State

    if message.state is not State.QUEUED:
        return None
    return min((r.next_attempt for r in message.pending() if r.next_attempt), default=None)


def report_change(done: str, count: int, *, as_json: bool, stopped: bool = False) -> None:
    """Says how many messages were changed, and ends a command that was stopped. done: `deleted`."""
    if as_json:
        print_json({done: count} | ({"stopped": True} if stopped else {}))
    else:
        print(f"{done}: {counted(count)}{STOPPED if stopped else ''}")
    if stopped:
        raise typer.Exit(Exit.STOPPED)


def print_raw(body: bytes) -> None:
    """Writes the message's bytes as they are."""
    import sys

    sys.stdout.buffer.write(body)
    sys.stdout.buffer.flush()


def header_of(body: bytes) -> str:
    """The message's header section as text."""
    return body.partition(b"\r\n\r\n")[0].decode("utf-8", "replace").replace("\r\n", "\n")
