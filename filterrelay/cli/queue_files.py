"""`filterrelay queue export` and `import`: queued mail as files, to be moved or kept."""

import asyncio
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Annotated

import typer

from filterrelay.cli.choosing import choosing, paged, progress
from filterrelay.cli.common import (
    ConfigOption,
    Exit,
    JsonOption,
    counted,
    load_spool_settings,
    print_json,
    run,
    safe,
    told,
)
from filterrelay.cli.mail_files import BadFile, must_exist
from filterrelay.cli.stored import Choice, named, opened_spool
from filterrelay.errors import FilterRelayError
from filterrelay.spool.store import Deposit, NoSuchMessage, Spool, State, StoredMessage

if TYPE_CHECKING:
    from filterrelay.mail.address import Address
    from filterrelay.settings import Settings

_LOT = 200  # messages that are made durable together
_LOT_OCTETS = 16 * 1024 * 1024
_MOST_ABOUT = 4 * 1024 * 1024  # octets of an ID.json: 10,000 recipients, their parameters too
_STATES = (State.QUEUED, State.HELD)

DirectoryOption = Annotated[
    Path, typer.Option("--to", metavar="DIR", help="Where to write; it is made if need be.")
]
FilesArgument = Annotated[
    list[Path],
    typer.Argument(
        metavar="PATH",
        callback=must_exist,
        help="Folders that `queue export` wrote, or .eml files.",
    ),
]
NewSenderOption = Annotated[
    str | None,
    typer.Option("--sender", metavar="ADDRESS", help="Of .eml files without a .json; or <>."),
]
NewRecipientOption = Annotated[
    list[str] | None,
    typer.Option("--recipient", metavar="ADDRESS", help="The same; may be said several times."),
]


@choosing
def export(
    choice: Choice,
    directory: DirectoryOption,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write messages into a folder: each ID.eml as it is stored, with its envelope in ID.json.

    They stay in the queue. No file is ever overwritten; ends with 1 when there is another one
    in the place of a message's.
    """
    choice.must_name_something()
    settings = load_spool_settings(config)
    _make(directory, settings)
    done = run(_export(settings, choice, directory, quiet=as_json))
    if as_json:
        print_json({"exported": done.taken, "there_already": done.known, "refused": done.refused})
    else:
        _tell("exported", done, "there already")
    if done.refused:
        raise typer.Exit(Exit.BAD)


def import_(
    paths: FilesArgument,
    config: ConfigOption = None,
    sender: NewSenderOption = None,
    recipients: NewRecipientOption = None,
    as_json: JsonOption = False,
) -> None:
    """Queue exported messages, or plain .eml files, as they are: neither filtered nor signed.

    A message that was imported before, or is here, is left out. Ends with 1 when one
    couldn't be taken.
    """
    settings = load_spool_settings(config)
    envelope = _envelope(sender, recipients)
    done = run(_import(settings, list(_files(paths)), envelope, quiet=as_json))
    if as_json:
        print_json({"imported": done.taken, "known": done.known, "refused": done.refused})
    else:
        _tell("imported", done, "known already")
    if done.refused:
        raise typer.Exit(Exit.BAD)


def _make(directory: Path, settings: "Settings") -> None:
    """Makes the folder if need be; root makes it for the relay, which it becomes."""
    if directory.is_dir():
        return
    directory.mkdir(mode=0o700)
    if os.geteuid() == 0 and settings.state_dir.is_dir():
        owner = settings.state_dir.stat()
        os.chown(directory, owner.st_uid, owner.st_gid)


@dataclass(slots=True)
class Done:
    """What an export or an import has done. refused: why, by file."""

    taken: int = 0
    known: int = 0
    refused: dict[str, str] = field(default_factory=dict)


def _tell(verb: str, done: Done, known: str) -> None:
    """Says what has been done; known: what is said of those left out."""
    for file, why in done.refused.items():
        typer.echo(safe(f"{file}: {why}"), err=True)
    left_out = _beside(done.known, known) + _beside(len(done.refused), "refused")
    print(f"{verb}: {counted(done.taken)}{left_out}")


def _beside(count: int, what: str) -> str:
    return f", {count} {what}" if count else ""


async def _export(settings: "Settings", choice: Choice, directory: Path, *, quiet: bool) -> Done:
    done = Done()
    async with opened_spool(settings) as (spool, now):
        for typed in choice.ids or ():
            await named(spool, typed, *_STATES)
        with progress(None, quiet=quiet) as advance:
            async for page in paged(spool.select, choice.selection(*_STATES), now):
                for message in page:
                    try:
                        if _written(directory, message, await spool.body(message.id)):
                            done.taken += 1
                        else:
                            done.known += 1
                    except NoSuchMessage:
                        continue  # delivered or deleted meanwhile
                    except BadFile as why:
                        done.refused[message.id] = str(why)
                    advance(1)
    os.sync()
    if done == Done():
        choice.must_know_upstream(settings)
    return done


def _written(directory: Path, message: StoredMessage, body: bytes) -> bool:
    """Writes the message's files; whether one of them was missing. Raises BadFile."""
    from filterrelay.cli.exported import exported

    about = _placed(directory / f"{message.id}.json", exported(message))
    return _placed(directory / f"{message.id}.eml", body) or about


def _placed(path: Path, content: bytes) -> bool:
    """Puts the whole content there at once, unless it is there already; whether it did.

    Raises BadFile when something else is there: left by a crash, or from when more
    recipients waited for the message.
    """
    if not path.exists():
        with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.") as draft:
            draft.write(content)
            draft.flush()
            with suppress(FileExistsError):
                os.link(draft.name, path)
                return True
    if not path.is_file() or path.read_bytes() != content:
        raise BadFile(f"{path} is there already and is another; export to a new folder")
    return False


Given = tuple["Address | None", "tuple[Address, ...]"]


def _envelope(sender: str | None, recipients: Sequence[str] | None) -> Given | None:
    """Sender and recipients said on the command line, if any."""
    from filterrelay.mail.address import BadAddress, parse_mailbox

    if sender is None and not recipients:
        return None
    if sender is None or not recipients:
        raise typer.BadParameter("--sender and --recipient belong together; <> is no sender")
    try:
        whose = None if sender in ("", "<>") else parse_mailbox(sender, utf8=True)
        return whose, tuple(parse_mailbox(text, utf8=True) for text in recipients)
    except BadAddress as error:
        raise typer.BadParameter(f"{error.text}: {error}") from None


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(path.glob("*.eml"))
        else:
            yield path


async def _import(
    settings: "Settings", files: Sequence[Path], envelope: Given | None, *, quiet: bool
) -> Done:
    done = Done()
    lot: list[Deposit] = []
    octets = 0
    async with opened_spool(settings) as (spool, now):
        with progress(len(files), quiet=quiet) as advance:
            for file in files:
                advance(1)
                try:
                    deposit = _read(file, envelope, settings.limits.message_size, now)
                except (FilterRelayError, OSError) as why:
                    done.refused[str(file)] = told(why)
                    continue
                lot.append(deposit)
                octets += len(deposit.body)
                if len(lot) >= _LOT or octets >= _LOT_OCTETS:
                    await _commit(spool, lot, done)
                    lot, octets = [], 0
            await _commit(spool, lot, done)
    return done


async def _commit(spool: Spool, lot: Sequence[Deposit], done: Done) -> None:
    """Makes those durable that aren't known yet, each once."""
    deposits = {deposit.message.id: deposit for deposit in lot}
    known = await asyncio.gather(*(_is_known(spool, id_) for id_ in deposits))
    new = [d for d, there in zip(deposits.values(), known, strict=True) if not there]
    await asyncio.gather(*(spool.commit(deposit) for deposit in new))
    done.taken += len(new)
    done.known += len(lot) - len(new)


async def _is_known(spool: Spool, id_: str) -> bool:
    from filterrelay.cli.exported import is_known

    try:
        await spool.state(id_)
    except NoSuchMessage:
        return is_known(await spool.events(id_))
    return True


def _read(file: Path, envelope: Given | None, most: int, now: datetime) -> Deposit:
    """The file's message. Raises BadFile or OSError."""
    from filterrelay.cli.exported import imported, plain_import

    if not file.is_file():
        raise BadFile("it is no file")
    if file.stat().st_size > most:
        raise BadFile(f"it is larger than limits.message_size, {most} bytes")
    content, about = file.read_bytes(), file.with_suffix(".json")
    if about.is_file():
        if about.stat().st_size > _MOST_ABOUT:
            raise BadFile(f"its .json is larger than {_MOST_ABOUT} bytes")
        if envelope is not None:
            raise BadFile(f"{about.name} says its envelope; leave --sender and --recipient out")
        return imported(about.read_bytes(), content, file.name, now)
    if envelope is None:
        raise BadFile(f"there is no {about.name}; say --sender and --recipient")
    return plain_import(content, *envelope, file.name, now)
