"""`filterrelay queue`: mail that waits for delivery."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime, timedelta
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from filterrelay.cli import queue_changes, queue_files
from filterrelay.cli.choosing import filtering, paged
from filterrelay.cli.common import (
    ConfigOption,
    JsonList,
    JsonOption,
    command,
    counted,
    iso,
    load_spool_settings,
    run,
    safe,
)
from filterrelay.cli.common import print_json as print_document
from filterrelay.cli.layout import Table, print_fields, print_table
from filterrelay.cli.stored import (
    Choice,
    IdArgument,
    RawOption,
    header_of,
    named,
    next_attempt,
    opened_spool,
    plain,
    print_raw,
)
from filterrelay.spool.store import Backlog, Event, State, StoredMessage

if TYPE_CHECKING:
    from filterrelay.settings import Settings

app = command("Look at and act on mail that waits for delivery.")

_TITLES = ("id", "age", "size", "sender", "recipients", "hop", "attempts", "next attempt")
_MOST_WORDS = 120  # characters of a reply in a list; `show` has all of it
_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


@app.command("list")
@filtering
def list_(choice: Choice, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List what waits: queued for an attempt, or held by an operator."""
    settings = load_spool_settings(config)
    run(_list_as_json(settings, choice) if as_json else _list(settings, choice))


@app.command()
def summary(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Count what waits, by next hop, the most first.

    The last reply is the most frequent one among the 500 messages of the hop that are due
    first; of held messages it is the most frequent reason.
    """
    backlogs, now = run(_summary(load_spool_settings(config)))
    if as_json:
        print_document([_plain_backlog(backlog) for backlog in backlogs])
        return
    if backlogs:
        print_table(
            ("hop", "state", "messages", "oldest", "last reply or reason"),
            [
                (b.hop or "-", b.state, str(b.messages), _age(now - b.oldest), _shortened(b.words))
                for b in backlogs
            ],
        )
    print(counted(sum(backlog.messages for backlog in backlogs)))


@app.command()
def show(
    message_id: IdArgument,
    config: ConfigOption = None,
    raw: RawOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show one message: envelope, each recipient's state and last reply, history, header."""
    message, body, events = run(_one(load_spool_settings(config), message_id))
    if raw:
        print_raw(body)
        return
    header = header_of(body)
    if as_json:
        history = [{"at": each.at, "kind": each.kind, "data": each.data} for each in events]
        print_document({**plain(message), "header": header, "events": history})
        return
    _show_message(message)
    _show_history(events)
    print(f"\n{safe(header)}")


for verb in (
    queue_changes.retry,
    queue_changes.hold,
    queue_changes.release,
    queue_changes.redirect,
    queue_changes.bounce,
    queue_changes.delete,
):
    app.command()(verb)
app.command()(queue_files.export)
app.command("import")(queue_files.import_)


def _show_message(message: StoredMessage) -> None:
    lease = message.lease
    print_fields(
        {
            "id": message.id,
            "state": message.state.value,
            "reason": message.reason,
            "received": iso(message.received),
            "sender": message.envelope.return_path or "<>",
            "size": f"{message.size} bytes",
            "leased": f"to {lease.owner} until {iso(lease.until)}" if lease else "",
        }
    )
    print()
    print_table(
        ("recipient", "state", "attempts", "next attempt", "upstream", "redirected", "last reply"),
        [
            (
                str(r.recipient),
                r.state.value,
                str(r.attempts),
                iso(r.next_attempt) if r.next_attempt else "",
                r.upstream,
                r.redirect,
                r.last_reply,
            )
            for r in message.recipients
        ],
    )


def _show_history(events: list[Event]) -> None:
    from filterrelay.cli.story import show_event

    for event in events:
        show_event(event)


async def _pages(
    settings: "Settings", choice: Choice
) -> AsyncGenerator[tuple[list[StoredMessage], datetime], None]:
    """The messages chosen, some at a time, and the time now."""
    found = False
    async with opened_spool(settings) as (spool, now):
        async for page in paged(spool.select, choice.selection(State.QUEUED, State.HELD), now):
            found = True
            yield page, now
    if not found:
        choice.must_know_upstream(settings)


async def _list(settings: "Settings", choice: Choice) -> None:
    table, count = Table((*_TITLES, "reason or last reply")), 0
    async with aclosing(_pages(settings, choice)) as pages:
        async for page, now in pages:
            table.print([_row(message, now) for message in page])
            count += len(page)
    print(counted(count))


async def _list_as_json(settings: "Settings", choice: Choice) -> None:
    with JsonList() as document:
        async with aclosing(_pages(settings, choice)) as pages:
            async for page, _ in pages:
                for message in page:
                    document.print(plain(message))


async def _summary(settings: "Settings") -> tuple[list[Backlog], datetime]:
    async with opened_spool(settings) as (spool, now):
        return await spool.backlogs(words=True), now


async def _one(settings: "Settings", message_id: str) -> tuple[StoredMessage, bytes, list[Event]]:
    async with opened_spool(settings) as (spool, _):
        message = await named(spool, message_id, *State)
        return message, await spool.body(message.id), await spool.events(message.id)


def _row(message: StoredMessage, now: datetime) -> tuple[str, ...]:
    pending = message.pending()
    replies = (stored.last_reply for stored in pending if stored.last_reply)
    return (
        message.id,
        _age(now - message.received),
        str(message.size),
        message.envelope.return_path or "<>",
        _first([str(stored.recipient) for stored in pending]),
        _first(list(dict.fromkeys(stored.upstream for stored in pending if stored.upstream))),
        str(max((stored.attempts for stored in pending), default=0)),
        "held" if message.state is State.HELD else _when(next_attempt(message), now),
        _shortened(message.reason or next(replies, "")),
    )


def _first(names: list[str]) -> str:
    """The first of them, and how many more there are."""
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return "".join(names[:1]) + more


def _when(at: datetime | None, now: datetime) -> str:
    return "now" if at is None or at <= now else iso(at)


def _age(age: timedelta) -> str:
    """The time in its largest unit, as `3 h`."""
    seconds = max(0, int(age.total_seconds()))
    size, unit = next(each for each in _UNITS if seconds >= each[0] or each[0] == 1)
    return f"{seconds // size} {unit}"


def _shortened(text: str) -> str:
    return shorten(text, _MOST_WORDS, placeholder=" …") if len(text) > _MOST_WORDS else text


def _plain_backlog(backlog: Backlog) -> dict[str, Any]:
    return {
        "hop": backlog.hop,
        "state": backlog.state,
        "messages": backlog.messages,
        "oldest": backlog.oldest,
        "reason" if backlog.state is State.HELD else "last_reply": backlog.words,
    }
