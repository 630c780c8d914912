"""`filterrelay quarantine`: mail that filters set aside."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, assert_never

import typer

from filterrelay.cli.common import (
    ConfigOption,
    Exit,
    JsonOption,
    become_the_relay,
    command,
    iso,
    load_settings,
    print_json,
    run,
    safe,
)
from filterrelay.cli.layout import print_fields, print_table
from filterrelay.cli.stored import (
    AllOption,
    Choice,
    IdArgument,
    IdsArgument,
    LimitOption,
    OlderOption,
    RecipientOption,
    SenderOption,
    chosen,
    header_of,
    opened_spool,
    plain,
    report_change,
)
from filterrelay.errors import FilterRelayError

if TYPE_CHECKING:
    from filterrelay.mail.verdict import Defer, Discard, Quarantine, Reject
    from filterrelay.settings import Settings
    from filterrelay.spool.store import StoredMessage

app = command("Look at and act on mail that filters set aside.")


@dataclass
class NotQuarantined(FilterRelayError):
    """The message is not in quarantine."""

    id: str


@app.command("list")
def list_(
    config: ConfigOption = None,
    sender: SenderOption = "",
    recipient: RecipientOption = "",
    older_than: OlderOption = "",
    limit: LimitOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what was set aside, by which filter and why."""
    choice = Choice((), sender, recipient, "", older_than, limit)
    messages = run(_listed(load_settings(config), choice))
    if as_json:
        print_json([plain(message) for message in messages])
        return
    if messages:
        print_table(
            ("id", "received", "size", "sender", "recipients", "by", "reason"),
            [
                (
                    message.id,
                    iso(message.received),
                    str(message.size),
                    message.envelope.return_path or "<>",
                    ", ".join(str(r) for r in message.envelope.recipients[:3]),
                    message.by,
                    message.reason,
                )
                for message in messages
            ],
        )
    print(f"{len(messages)} message{'' if len(messages) == 1 else 's'}")


@app.command()
def show(
    message_id: IdArgument,
    config: ConfigOption = None,
    whole: Annotated[bool, typer.Option("--whole", help="The message's text, too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show one message: who sent it to whom, what was found, and its header."""
    message, body = run(_one(load_settings(config), message_id))
    shown = body.decode("utf-8", "replace") if whole else header_of(body)
    if as_json:
        print_json({**plain(message), ("message" if whole else "header"): shown})
        return
    print_fields(
        {
            "id": message.id,
            "received": iso(message.received),
            "sender": message.envelope.return_path or "<>",
            "recipients": ", ".join(str(r) for r in message.envelope.recipients),
            "size": f"{message.size} bytes",
            "by": message.by,
            "reason": message.reason,
        }
    )
    print(f"\n{safe(shown)}")


@app.command()
def release(
    ids: IdsArgument = None,
    config: ConfigOption = None,
    sender: SenderOption = "",
    recipient: RecipientOption = "",
    older_than: OlderOption = "",
    every: AllOption = False,
    as_json: JsonOption = False,
) -> None:
    """Send messages on, unless another filter than the one overruled objects."""
    choice = Choice(ids, sender, recipient, "", older_than, every=every)
    released, kept = run(_release(load_settings(config), choice))
    if as_json:
        print_json({"released": released, "kept": kept})
    else:
        report_change("released", len(released), as_json=False)
        for id_, reason in kept.items():
            print(f"{id_} stays: {safe(reason)}")
    if kept:
        raise typer.Exit(Exit.BAD)


@app.command()
def delete(
    ids: IdsArgument = None,
    config: ConfigOption = None,
    sender: SenderOption = "",
    recipient: RecipientOption = "",
    older_than: OlderOption = "",
    every: AllOption = False,
    as_json: JsonOption = False,
) -> None:
    """Remove messages; nobody is told."""
    choice = Choice(ids, sender, recipient, "", older_than, every=every)
    report_change("deleted", run(_delete(load_settings(config), choice)), as_json=as_json)


async def _listed(settings: "Settings", choice: Choice) -> "list[StoredMessage]":
    from filterrelay.spool.store import State

    async with opened_spool(settings) as (spool, now):
        return await spool.select(choice.selection(State.QUARANTINED), now)


async def _one(settings: "Settings", message_id: str) -> "tuple[StoredMessage, bytes]":
    from filterrelay.spool.store import State

    id_ = message_id.strip().upper()
    async with opened_spool(settings) as (spool, _):
        message = await spool.get(id_)
        if message.state is not State.QUARANTINED:
            raise NotQuarantined(id_)
        return message, await spool.body(id_)


async def _delete(settings: "Settings", choice: Choice) -> int:
    from filterrelay.spool.store import State

    choice.must_name_something()
    async with opened_spool(settings) as (spool, now):
        messages = await chosen(spool, choice, now, State.QUARANTINED)
        return await spool.delete([message.id for message in messages], now)


async def _release(settings: "Settings", choice: Choice) -> tuple[list[str], dict[str, str]]:
    """The IDs that are on their way, and why the others are not."""
    from filterrelay.app import running_core
    from filterrelay.chain.chain import NotAnswered
    from filterrelay.mail.identifier import new_id
    from filterrelay.mail.verdict import Pass, name_of
    from filterrelay.observe.clock import SystemClock
    from filterrelay.observe.metrics import Metrics
    from filterrelay.spool.store import State

    choice.must_name_something()
    become_the_relay(settings)
    clock = SystemClock()
    released: list[str] = []
    kept: dict[str, str] = {}
    owner = f"release-{new_id(clock.now())}"
    async with running_core(settings, owner=owner, metrics=Metrics(), clock=clock) as core:
        for message in await chosen(core.spool, choice, clock.now(), State.QUARANTINED):
            try:
                verdict = await core.intake.release(message, await core.spool.body(message.id))
            except NotAnswered as silent:
                kept[message.id] = str(silent)
                continue
            if isinstance(verdict, Pass):
                released.append(message.id)
            else:
                kept[message.id] = f"{name_of(verdict)}: {_why(verdict)}"
    return released, kept


def _why(verdict: "Reject | Defer | Quarantine | Discard") -> str:
    from filterrelay.mail.verdict import Defer, Discard, Quarantine, Reject

    match verdict:
        case Reject(reply) | Defer(reply):
            return str(reply)
        case Quarantine(reason) | Discard(reason):
            return reason
        case _:
            assert_never(verdict)
