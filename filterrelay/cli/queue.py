"""`filterrelay queue`: mail that waits for delivery."""

from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from filterrelay.cli.common import (
    ConfigOption,
    JsonOption,
    command,
    counted,
    iso,
    load_spool_settings,
    run,
    safe,
)
from filterrelay.cli.common import print_json as print_document
from filterrelay.cli.layout import print_fields, print_table
from filterrelay.cli.stored import (
    AllOption,
    Choice,
    IdArgument,
    IdsArgument,
    LimitOption,
    OlderOption,
    RawOption,
    RecipientOption,
    SenderOption,
    UpstreamOption,
    chosen,
    header_of,
    named,
    next_attempt,
    opened_spool,
    plain,
    print_raw,
    report_change,
)

if TYPE_CHECKING:
    from filterrelay.settings import Settings
    from filterrelay.spool.store import Spool, State, StoredMessage

app = command("Look at and act on mail that waits for delivery.")

Change = Callable[["Spool", Sequence[str], datetime], Coroutine[Any, Any, int]]


@app.command("list")
def list_(
    config: ConfigOption = None,
    sender: SenderOption = "",
    recipient: RecipientOption = "",
    upstream: UpstreamOption = "",
    older_than: OlderOption = "",
    limit: LimitOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what waits: queued for an attempt, or held by an operator."""
    choice = Choice((), sender, recipient, upstream, older_than, limit)
    messages = run(_listed(load_spool_settings(config), choice))
    if as_json:
        print_document([plain(message) for message in messages])
        return
    if messages:
        titles = ("id", "state", "received", "size", "sender", "recipients", "next attempt")
        print_table((*titles, "reason or last reply"), [_row(message) for message in messages])
    print(counted(len(messages)))


@app.command()
def show(
    message_id: IdArgument,
    config: ConfigOption = None,
    raw: RawOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show one message: envelope, header, each recipient's state and last reply."""
    message, body = run(_one(load_spool_settings(config), message_id))
    if raw:
        print_raw(body)
        return
    header = header_of(body)
    if as_json:
        print_document({**plain(message), "header": header})
        return
    print_fields(
        {
            "id": message.id,
            "state": message.state.value,
            "reason": message.reason,
            "received": iso(message.received),
            "sender": message.envelope.return_path or "<>",
            "size": f"{message.size} bytes",
            "leased": f"to {message.lease.owner} until {iso(message.lease.until)}"
            if message.lease
            else "",
        }
    )
    print()
    print_table(
        ("recipient", "state", "attempts", "next attempt", "upstream", "last reply"),
        [
            (
                str(r.recipient),
                r.state.value,
                str(r.attempts),
                iso(r.next_attempt) if r.next_attempt else "",
                r.upstream,
                r.last_reply,
            )
            for r in message.recipients
        ],
    )
    print(f"\n{safe(header)}")


@app.command()
def retry(
    ids: IdsArgument = None,
    config: ConfigOption = None,
    sender: SenderOption = "",
    recipient: RecipientOption = "",
    upstream: UpstreamOption = "",
    older_than: OlderOption = "",
    every: AllOption = False,
    as_json: JsonOption = False,
) -> None:
    """Try queued messages now."""
    from filterrelay.spool.store import State

    choice = Choice(ids, sender, recipient, upstream, older_than, every=every)
    settings = load_spool_settings(config)
    done = run(_change(settings, choice, (State.QUEUED,), lambda spool, *to: spool.retry(*to)))
    report_change("retried", done, as_json=as_json)


@app.command()
def hold(
    ids: IdsArgument = None,
    config: ConfigOption = None,
    sender: SenderOption = "",
    recipient: RecipientOption = "",
    upstream: UpstreamOption = "",
    older_than: OlderOption = "",
    every: AllOption = False,
    reason: Annotated[str, typer.Option(help="Why, for whoever looks later.")] = "by operator",
    as_json: JsonOption = False,
) -> None:
    """Set queued messages aside until they are released."""
    from filterrelay.spool.store import State

    choice = Choice(ids, sender, recipient, upstream, older_than, every=every)
    done = run(
        _change(
            load_spool_settings(config),
            choice,
            (State.QUEUED,),
            lambda spool, chosen_ids, now: spool.hold(chosen_ids, reason, now),
        )
    )
    report_change("held", done, as_json=as_json)


@app.command()
def release(
    ids: IdsArgument = None,
    config: ConfigOption = None,
    sender: SenderOption = "",
    recipient: RecipientOption = "",
    upstream: UpstreamOption = "",
    older_than: OlderOption = "",
    every: AllOption = False,
    as_json: JsonOption = False,
) -> None:
    """Put held messages back and try them now."""
    from filterrelay.spool.store import State

    choice = Choice(ids, sender, recipient, upstream, older_than, every=every)
    settings = load_spool_settings(config)
    done = run(_change(settings, choice, (State.HELD,), lambda spool, *to: spool.release(*to)))
    report_change("released", done, as_json=as_json)


@app.command()
def delete(
    ids: IdsArgument = None,
    config: ConfigOption = None,
    sender: SenderOption = "",
    recipient: RecipientOption = "",
    upstream: UpstreamOption = "",
    older_than: OlderOption = "",
    every: AllOption = False,
    as_json: JsonOption = False,
) -> None:
    """Remove queued or held messages; nobody is told."""
    from filterrelay.spool.store import State

    choice = Choice(ids, sender, recipient, upstream, older_than, every=every)
    states = (State.QUEUED, State.HELD)
    settings = load_spool_settings(config)
    done = run(_change(settings, choice, states, lambda spool, *to: spool.delete(*to)))
    report_change("deleted", done, as_json=as_json)


async def _listed(settings: "Settings", choice: Choice) -> "list[StoredMessage]":
    from filterrelay.spool.store import State

    choice.must_know_upstream(settings)
    async with opened_spool(settings) as (spool, now):
        return await spool.select(choice.selection(State.QUEUED, State.HELD), now)


async def _one(settings: "Settings", message_id: str) -> "tuple[StoredMessage, bytes]":
    from filterrelay.spool.store import State

    async with opened_spool(settings) as (spool, _):
        message = await named(spool, message_id, *State)
        return message, await spool.body(message.id)


async def _change(
    settings: "Settings", choice: Choice, states: "tuple[State, ...]", change: Change
) -> int:
    """Makes the change to all messages chosen; returns how many there were."""
    choice.must_name_something()
    choice.must_know_upstream(settings)
    async with opened_spool(settings) as (spool, now):
        messages = await chosen(spool, choice, now, *states)
        return await change(spool, [message.id for message in messages], now)


def _row(message: "StoredMessage") -> tuple[str, ...]:
    due = next_attempt(message)
    waiting = [str(stored.recipient) for stored in message.pending()]
    more = f" and {len(waiting) - 2} more" if len(waiting) > 2 else ""
    return (
        message.id,
        message.state.value,
        iso(message.received),
        str(message.size),
        message.envelope.return_path or "<>",
        ", ".join(waiting[:2]) + more,
        iso(due) if due else "",
        message.reason or next((r.last_reply for r in message.pending() if r.last_reply), ""),
    )
