"""`filterrelay quarantine`: mail that filters set aside."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, TypeVar, assert_never

import typer

from filterrelay.cli.common import (
    ConfigOption,
    Exit,
    JsonOption,
    become_the_relay,
    command,
    counted,
    iso,
    load_settings,
    load_spool_settings,
    print_json,
    run,
    safe,
)
from filterrelay.cli.layout import print_fields, print_table
from filterrelay.cli.learn import Teacher, print_lessons
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
    chosen,
    header_of,
    named,
    opened_spool,
    plain,
    print_raw,
    report_change,
)
from filterrelay.errors import FilterRelayError

if TYPE_CHECKING:
    from filterrelay.app import Core
    from filterrelay.mail.verdict import Defer, Discard, Quarantine, Reject
    from filterrelay.settings import Settings
    from filterrelay.spool.store import Spool, StoredMessage

T = TypeVar("T")

_LOT = 100  # messages

app = command("Look at and act on mail that filters set aside.")


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
    messages = run(_listed(load_spool_settings(config), choice))
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
    print(counted(len(messages)))


@app.command()
def show(
    message_id: IdArgument,
    config: ConfigOption = None,
    whole: Annotated[bool, typer.Option("--whole", help="The message's text, too.")] = False,
    raw: RawOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show one message: who sent it to whom, what was found, and its header."""
    message, body = run(_one(load_spool_settings(config), message_id))
    if raw:
        print_raw(body)
        return
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
    learn_ham: Annotated[
        bool, typer.Option("--learn-ham", help="Teach the filters that these are wanted.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Send messages on, unless another filter than the one overruled objects."""
    choice = Choice(ids, sender, recipient, "", older_than, every=every)
    choice.must_name_something()
    settings = load_settings(config)
    teacher = Teacher(settings, "ham") if learn_ham else None
    released, kept = run(_release(settings, choice, teacher))
    if as_json:
        learned = {"learned": _plain_lessons(teacher)} if teacher else {}
        print_json({"released": released, "kept": kept, **learned})
    else:
        report_change("released", len(released), as_json=False)
        for id_, reason in kept.items():
            print(f"{id_} stays: {safe(reason)}")
        print_lessons(teacher)
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
    learn_spam: Annotated[
        bool, typer.Option("--learn-spam", help="Teach the filters that these are spam.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove messages; nobody is told."""
    choice = Choice(ids, sender, recipient, "", older_than, every=every)
    choice.must_name_something()
    settings = load_spool_settings(config)
    teacher = Teacher(settings, "spam") if learn_spam else None
    count = run(_delete(settings, choice, teacher))
    if as_json:
        learned = {"learned": _plain_lessons(teacher)} if teacher else {}
        print_json({"deleted": count, **learned})
    else:
        report_change("deleted", count, as_json=False)
        print_lessons(teacher)


async def _listed(settings: "Settings", choice: Choice) -> "list[StoredMessage]":
    from filterrelay.spool.store import State

    async with opened_spool(settings) as (spool, now):
        return await spool.select(choice.selection(State.QUARANTINED), now)


async def _one(settings: "Settings", message_id: str) -> "tuple[StoredMessage, bytes]":
    from filterrelay.spool.store import State

    async with opened_spool(settings) as (spool, _):
        message = await named(spool, message_id, State.QUARANTINED)
        return message, await spool.body(message.id)


async def _delete(settings: "Settings", choice: Choice, teacher: Teacher | None) -> int:
    """Deletes some at a time; what is to be learned is learned before."""
    from filterrelay.spool.store import State

    deleted = 0
    async with opened_spool(settings) as (spool, now):
        for some in _lots(await chosen(spool, choice, now, State.QUARANTINED)):
            await _teach(teacher, spool, some)
            deleted += await spool.delete([message.id for message in some], now)
    return deleted


async def _teach(
    teacher: Teacher | None, spool: "Spool", stored: "Sequence[StoredMessage]"
) -> None:
    """Teaches the messages as they were set aside, if anybody is to learn."""
    from filterrelay.mail.message import Message
    from filterrelay.spool.store import NoSuchMessage

    if teacher is None:
        return
    messages = []
    for one in stored:
        with suppress(NoSuchMessage):  # somebody else has released or deleted it
            messages.append(Message(one.id, await spool.body(one.id)))
    teacher.teach(messages)


async def _release(
    settings: "Settings", choice: Choice, teacher: Teacher | None
) -> tuple[list[str], dict[str, str]]:
    """The IDs that are on their way, and why the others are not."""
    from filterrelay.app import running_core
    from filterrelay.mail.identifier import new_id
    from filterrelay.observe.clock import SystemClock
    from filterrelay.observe.metrics import Metrics
    from filterrelay.spool.store import State

    become_the_relay(settings)
    clock = SystemClock()
    released: list[str] = []
    kept: dict[str, str] = {}
    owner = f"release-{new_id(clock.now())}"
    async with running_core(settings, owner=owner, metrics=Metrics(), clock=clock) as core:
        for some in _lots(await chosen(core.spool, choice, clock.now(), State.QUARANTINED)):
            await _teach(teacher, core.spool, some)
            for message in some:
                if why := await _why_kept(core, message):
                    kept[message.id] = why
                else:
                    released.append(message.id)
    return released, kept


async def _why_kept(core: "Core", message: "StoredMessage") -> str:
    """Sends the message on, or says why it stays."""
    from filterrelay.mail.verdict import Pass, name_of
    from filterrelay.spool.store import NoSuchMessage

    try:
        verdict = await core.intake.release(message, await core.spool.body(message.id))
    except NoSuchMessage:
        return "somebody else has released or deleted it"
    except FilterRelayError as trouble:  # a plugin's or the spool's: the others may go yet
        return str(trouble)
    return "" if isinstance(verdict, Pass) else f"{name_of(verdict)}: {_why(verdict)}"


def _lots(all_of_them: Sequence[T]) -> Iterator[Sequence[T]]:
    """Some at a time, as many as may be in memory at once."""
    for start in range(0, len(all_of_them), _LOT):
        yield all_of_them[start : start + _LOT]


def _plain_lessons(teacher: Teacher) -> dict[str, object]:
    return {name: asdict(lesson) for name, lesson in teacher.lessons.items()}


def _why(verdict: "Reject | Defer | Quarantine | Discard") -> str:
    from filterrelay.mail.verdict import Defer, Discard, Quarantine, Reject

    match verdict:
        case Reject(reply) | Defer(reply):
            return str(reply)
        case Quarantine(reason) | Discard(reason):
            return reason
        case _:
            assert_never(verdict)
