"""How the queue's commands choose messages, and go through many of them page by page."""

import asyncio
import inspect
import signal
import sys
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Sequence,
)
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from functools import wraps
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from filterrelay.cli.stored import (
    AllOption,
    Choice,
    IdsArgument,
    LimitOption,
    OlderOption,
    RecipientOption,
    SenderOption,
    StateOption,
    UpstreamOption,
    named,
    opened_spool,
)
from filterrelay.spool.selection import Place, Selection
from filterrelay.spool.store import Spool, State

if TYPE_CHECKING:
    from filterrelay.settings import Settings

PAGE = 2000  # messages looked at, or acted on, at a time

Change = Callable[[Spool, Sequence[str], datetime], Coroutine[Any, Any, int]]


class Placed(Protocol):
    """What has a place in a listing."""

    @property
    def received(self) -> datetime:
        """When the message was received."""
        ...

    @property
    def id(self) -> str:
        """The message's ID."""
        ...


P = TypeVar("P", bound=Placed)
T = TypeVar("T")


def _filters(
    sender: SenderOption = "",
    recipient: RecipientOption = "",
    upstream: UpstreamOption = "",
    older_than: OlderOption = "",
    state: StateOption = "",
    limit: LimitOption = None,
) -> None:
    """What restricts a listing."""


def _names(ids: IdsArgument = None, every: AllOption = False) -> None:
    """What else names messages to act on."""


def filtering(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options that restrict a listing, as the Choice that it takes."""
    return _taking(command, _filters)


def choosing(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command all that names messages, as the Choice that it takes."""
    return _taking(command, _names, _filters)


def _taking(command: Callable[..., None], *templates: Callable[..., None]) -> Callable[..., None]:
    """The command with the templates' parameters in the place of its `choice`."""
    given = [p for each in templates for p in inspect.signature(each).parameters.values()]
    names = {each.name for each in given}
    parameters: list[inspect.Parameter] = []
    for own in inspect.signature(command).parameters.values():
        parameters += given if own.name == "choice" else [own]

    @wraps(command)
    def taking(**values: Any) -> None:
        choice = Choice(**{name: values.pop(name) for name in names})
        command(choice=choice, **values)

    parameters = [each.replace(kind=each.KEYWORD_ONLY) for each in parameters]
    setattr(taking, "__signature__", inspect.Signature(parameters))  # noqa: B010  # functions have none that mypy knows
    return taking


async def paged(
    look: Callable[[Selection, datetime], Awaitable[list[P]]],
    selection: Selection,
    now: datetime,
) -> AsyncIterator[list[P]]:
    """What look finds of the selection, oldest first, a page at a time."""
    left = selection.limit
    while left is None or left > 0:
        size = PAGE if left is None else min(PAGE, left)
        page = await look(replace(selection, limit=size), now)
        if page:
            yield page
        if len(page) < size:
            return
        selection = replace(selection, after=Place(page[-1].received, page[-1].id))
        left = None if left is None else left - size


async def change(
    settings: "Settings", choice: Choice, states: Sequence[State], work: Change, *, quiet: bool
) -> tuple[int, bool]:
    """Has work change all messages chosen, a page at a time.

    quiet: without a progress bar, which else a terminal gets. Returns how many it changed,
    and whether it was stopped.
    """
    choice.must_name_something()
    changed = 0
    async with opened_spool(settings) as (spool, now):
        selection = choice.selection(*states)
        for typed in choice.ids or ():
            await named(spool, typed, *states)
        count = await _count(spool, choice, states)
        with progress(count, quiet=quiet) as advance, stoppable() as is_stopped:
            async for page in paged(spool.places, selection, now):
                changed += await work(spool, [place.id for place in page], now)
                advance(len(page))
                if is_stopped():
                    return changed, True
    if not changed:
        choice.must_know_upstream(settings)
    return changed, False


async def _count(spool: Spool, choice: Choice, states: Sequence[State]) -> int | None:
    """How many messages are chosen, when that is known beforehand."""
    if choice != Choice(choice.ids, limit=choice.limit, every=choice.every):
        return None
    if choice.ids:
        return len(choice.ids)
    depth = await spool.depth()
    there = sum(depth.messages[state] for state in states)
    return there if choice.limit is None else min(there, choice.limit)


@contextmanager
def progress(total: int | None, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal's standard error; gives what moves it on by so many messages."""
    if quiet or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

    shown = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*shown, console=Console(stderr=True), transient=True) as bars:
        bar = bars.add_task("", total=total)
        yield lambda count: bars.advance(bar, count)


@contextmanager
def stoppable() -> Iterator[Callable[[], bool]]:
    """Gives what tells whether Ctrl-C was pressed, for a command to end after its step.

    So it can say exactly how far it came. Pressed again, it ends the program at once.
    """
    pressed = False
    before = signal.getsignal(signal.SIGINT)

    def press(*_: object) -> None:
        nonlocal pressed
        pressed = True
        signal.signal(signal.SIGINT, before)

    if before is not signal.SIG_IGN:  # as a script has it in what it runs in the background
        signal.signal(signal.SIGINT, press)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)


def in_lots(
    items: Iterable[T], size: Callable[[T], int], *, most: int, octets: int
) -> Iterator[list[T]]:
    """The items, some at a time: so many at most, and together hardly more than the octets."""
    lot: list[T] = []
    whole = 0
    for item in items:
        lot.append(item)
        whole += size(item)
        if len(lot) >= most or whole >= octets:
            yield lot
            lot, whole = [], 0
    if lot:
        yield lot


async def ahead(source: AsyncIterator[T]) -> AsyncGenerator[T, None]:
    """What the source gives, the next one fetched while one is worked on."""
    coming = asyncio.ensure_future(anext(source, None))
    try:
        while (fetched := await coming) is not None:
            coming = asyncio.ensure_future(anext(source, None))
            yield fetched
    finally:
        coming.cancel()
