"""`filterrelay queue export` and `import`: queued mail as files, to be moved or kept."""

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ParamSpec

import typer

from filterrelay.cli.choosing import ahead, choosing, in_lots, paged, progress, stoppable
from filterrelay.cli.common import (
    ConfigOption,
    Exit,
    JsonOption,
    by_root,
    counted,
    load_spool_settings,
    print_json,
    run,
    safe,
    told,
)
from filterrelay.cli.mail_files import BadFile, must_exist
from filterrelay.cli.stored import STOPPED, Choice, named, opened_spool
from filterrelay.errors import FilterRelayError
from filterrelay.spool.store import Deposit, Spool, State, StoredMessage

if TYPE_CHECKING:
    from filterrelay.cli.export_folder import ExportFolder
    from filterrelay.mail.address import Address
    from filterrelay.settings import Settings

P = ParamSpec("P")

_MOST_WRITTEN, _OCTETS_WRITTEN = 2000, 16 * 1024 * 1024  # messages made durable as files at once
_MOST_COMMITTED, _OCTETS_COMMITTED = 500, 4 * 1024 * 1024  # and in one transaction
_MOST_TOLD = 20  # files that are refused: if one is wrong with all, it is said often enough
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
    in the place of a message's, or the disk is full.
    """
    choice.must_name_something()
    settings = load_spool_settings(config)
    _make(directory, settings)
    done = run(_export(settings, choice, directory, quiet=as_json))
    if as_json:
        _print_json({"exported": done.taken, "there_already": done.known}, done)
    else:
        _tell("exported", done, "there already")
    _end(done)


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
        _print_json({"imported": done.taken, "known": done.known}, done)
    else:
        _tell("imported", done, "known already")
    _end(done)


def _make(directory: Path, settings: "Settings") -> None:
    """Makes the folder if need be; root makes it for the relay, which it becomes."""
    if directory.is_dir():
        return
    directory.mkdir(mode=0o700)
    if by_root() and settings.state_dir.is_dir():
        owner = settings.state_dir.stat()
        os.chown(directory, owner.st_uid, owner.st_gid)


@dataclass(slots=True)
class Done:
    """What an export or an import has done.

    refused: why, by file. failure: why it ended before it was through. stopped: by Ctrl-C.
    """

    taken: int = 0
    known: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    failure: str = ""
    stopped: bool = False


def _print_json(counts: dict[str, int], done: Done) -> None:
    failure = {"error": done.failure} if done.failure else {}
    stopped = {"stopped": True} if done.stopped else {}
    print_json({**counts, "refused": done.refused, **failure, **stopped})


def _tell(verb: str, done: Done, known: str) -> None:
    """Says what has been done; known: what is said of those left out."""
    for file, why in islice(done.refused.items(), _MOST_TOLD):
        typer.echo(safe(f"{file}: {why}"), err=True)
    if len(done.refused) > _MOST_TOLD:
        more = f"and {len(done.refused) - _MOST_TOLD} more; --json tells all of them"
        typer.echo(more, err=True)
    left_out = _beside(done.known, known) + _beside(len(done.refused), "refused")
    print(f"{verb}: {counted(done.taken)}{left_out}{STOPPED if done.stopped else ''}")
    if done.failure:
        typer.echo(f"filterrelay: not all: {safe(done.failure)}", err=True)


def _end(done: Done) -> None:
    if done.stopped:
        raise typer.Exit(Exit.STOPPED)
    if done.refused or done.failure:
        raise typer.Exit(Exit.BAD)


def _beside(count: int, what: str) -> str:
    return f", {count} {what}" if count else ""


async def _export(settings: "Settings", choice: Choice, directory: Path, *, quiet: bool) -> Done:
    from filterrelay.cli.export_folder import export_folder

    done = Done()
    async with opened_spool(settings) as (spool, now):
        for typed in choice.ids or ():
            await named(spool, typed, *_STATES)
        with (
            _failing(done),
            export_folder(directory) as folder,
            progress(None, quiet=quiet) as advance,
            stoppable() as is_stopped,
        ):
            pages = paged(spool.select, choice.selection(*_STATES), now)
            async with aclosing(ahead(_with_bodies(spool, pages))) as lots:
                async for lot in lots:
                    await _in_thread(_write, folder, lot, done)
                    advance(len(lot))
                    done.stopped = is_stopped()
                    if done.stopped:
                        break
    if done == Done():
        choice.must_know_upstream(settings)
    return done


@contextmanager
def _failing(done: Done) -> Iterator[None]:
    """Notes what ends the work, so that what was done before is told, too."""
    try:
        yield
    except (FilterRelayError, OSError) as error:
        done.failure = told(error)


async def _in_thread(work: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs) -> None:
    """Has a thread do it while others read; to its end, also when this is cancelled."""
    working = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
    try:
        await asyncio.shield(working)
    finally:
        await asyncio.wait([working])


Lot = list[tuple[StoredMessage, bytes]]


async def _with_bodies(
    spool: Spool, pages: AsyncIterator[list[StoredMessage]]
) -> AsyncIterator[Lot]:
    """The messages with their bytes, as many at a time as may be in memory.

    Without those that are delivered or deleted meanwhile.
    """
    async for page in pages:
        size = attrgetter("size")
        for lot in in_lots(page, size, most=_MOST_WRITTEN, octets=_OCTETS_WRITTEN):
            bodies = await spool.bodies([message.id for message in lot])
            yield [(message, bodies[message.id]) for message in lot if message.id in bodies]


def _write(folder: "ExportFolder", lot: Lot, done: Done) -> None:
    """Writes the messages' files, as far as they are missing."""
    from filterrelay.cli.exported import exported

    drafts: dict[str, dict[str, bytes]] = {}
    for message, body in lot:
        files = {f"{message.id}.json": exported(message), f"{message.id}.eml": body}
        try:
            missing = {n: content for n, content in files.items() if folder.lacks(n, content)}
        except BadFile as why:
            done.refused[message.id] = str(why)
            continue
        for name, content in missing.items():
            folder.draft(name, content)
        if missing:
            drafts[message.id] = missing
        else:
            done.known += 1
    folder.sync()
    for id_, missing in drafts.items():
        try:
            for name, content in missing.items():
                folder.publish(name, content)
            done.taken += 1
        except BadFile as why:
            done.refused[id_] = str(why)


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


def _files(paths: Sequence[Path]) -> Iterator[str]:
    """The files meant, as text: a hundred thousand Paths would keep the garbage collector busy."""
    for path in paths:
        if path.is_dir():
            yield from sorted(str(file) for file in path.glob("*.eml"))
        else:
            yield str(path)


async def _import(
    settings: "Settings", files: Sequence[str], envelope: Given | None, *, quiet: bool
) -> Done:
    done = Done()
    async with opened_spool(settings) as (spool, now):
        with (
            _failing(done),
            progress(len(files), quiet=quiet) as advance,
            stoppable() as is_stopped,
        ):

            def deposits() -> Iterator[Deposit]:
                for file in files:
                    try:
                        yield _read(Path(file), envelope, settings.limits.message_size, now)
                    except (FilterRelayError, OSError) as why:
                        done.refused[file] = told(why)

            async with aclosing(ahead(_read_lots(deposits()))) as lots:
                async for lot in lots:
                    await _commit(spool, lot, done)
                    advance(len(lot))
                    done.stopped = is_stopped()
                    if done.stopped:
                        break
    return done


async def _read_lots(deposits: Iterator[Deposit]) -> AsyncIterator[list[Deposit]]:
    """As many at a time as go into one transaction, read by a thread."""
    lots = in_lots(deposits, _octets, most=_MOST_COMMITTED, octets=_OCTETS_COMMITTED)
    while lot := await asyncio.to_thread(next, lots, None):
        yield lot


def _octets(deposit: Deposit) -> int:
    return len(deposit.body)


async def _commit(spool: Spool, lot: Sequence[Deposit], done: Done) -> None:
    """Makes those durable that aren't known yet, each once. Raises the first that fails."""
    deposits = {deposit.message.id: deposit for deposit in lot}
    known = await spool.known([*deposits])
    new = [deposit for id_, deposit in deposits.items() if id_ not in known]
    results = await asyncio.gather(*map(spool.commit, new), return_exceptions=True)
    failures = [result for result in results if result is not None]
    done.taken += len(new) - len(failures)
    done.known += len(lot) - len(new)
    for failure in failures:
        raise failure


def _read(file: Path, envelope: Given | None, most: int, now: datetime) -> Deposit:
    """The file's message. Raises BadFile or OSError."""
    from filterrelay.cli.exported import imported, plain_import

    content, about = _content(file, most, "it", "limits.message_size, "), file.with_suffix(".json")
    try:
        text = _content(about, _MOST_ABOUT, "its .json")
    except FileNotFoundError:
        if envelope is None:
            raise BadFile(f"there is no {about.name}; say --sender and --recipient") from None
        return plain_import(content, *envelope, file.name, now)
    if envelope is not None:
        raise BadFile(f"{about.name} says its envelope; leave --sender and --recipient out")
    return imported(text, content, file.name, now)


def _content(file: Path, most: int, what: str, limit: str = "") -> bytes:
    """The file's bytes. Raises OSError, or BadFile, which calls the file what."""
    found = file.stat()
    if not stat.S_ISREG(found.st_mode):
        raise BadFile(f"{what} is no file")
    if found.st_size > most:
        raise BadFile(f"{what} is larger than {limit}{most} bytes")
    with file.open("rb", buffering=0) as opened:
        return opened.read()
