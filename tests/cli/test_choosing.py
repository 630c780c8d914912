"""Choosing messages on the command line, and going through many of them."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from filterrelay.cli import choosing
from filterrelay.cli.stored import Choice
from filterrelay.plugin.testing import FakeClock, an_envelope
from filterrelay.spool.memory import MemorySpool
from filterrelay.spool.selection import Selection
from filterrelay.spool.store import Deposit, State, StoredMessage, recipients_due

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
async def spool(monkeypatch: pytest.MonkeyPatch) -> MemorySpool:
    """Seven messages, three to a page."""
    monkeypatch.setattr(choosing, "PAGE", 3)
    made = MemorySpool(FakeClock())
    for n in range(7):
        envelope = an_envelope()
        at = NOW + timedelta(minutes=n)
        message = StoredMessage(f"M{n}", at, envelope, {}, 0, recipients_due(envelope, at))
        await made.commit(Deposit(message, b""))
    return made


async def pages(spool: MemorySpool, selection: Selection) -> list[str]:
    """The IDs of each page, in a word."""
    return [
        "".join(place.id for place in page)
        async for page in choosing.paged(spool.places, selection, NOW)
    ]


async def test_many_messages_come_in_pages(spool: MemorySpool) -> None:
    """Oldest first, each once."""
    assert await pages(spool, Selection()) == ["M0M1M2", "M3M4M5", "M6"]


async def test_a_limit_ends_the_pages(spool: MemorySpool) -> None:
    """Also in the middle of one."""
    assert await pages(spool, Selection(limit=4)) == ["M0M1M2", "M3"]
    assert await pages(spool, Selection(limit=3)) == ["M0M1M2"]


async def test_what_is_changed_between_pages_is_not_met_again(spool: MemorySpool) -> None:
    """Held messages are chosen no second time, and none is passed over."""
    seen = []
    async for page in choosing.paged(spool.places, Selection(), NOW):
        seen += [place.id for place in page]
        await spool.hold([place.id for place in page], "", NOW)
    assert seen == [f"M{n}" for n in range(7)]
    assert (await spool.depth()).messages[State.HELD] == 7


def test_a_command_gets_what_was_chosen_as_one_value() -> None:
    """Beside the options of its own."""
    got: list[Any] = []
    app = typer.Typer()

    @app.command()
    @choosing.choosing
    def act(choice: Choice, loud: bool = False) -> None:
        got.append((choice, loud))

    done = CliRunner().invoke(app, ["ID", "--sender", "*@x.example", "--limit", "2", "--loud"])
    assert done.exit_code == 0, done.output
    assert got == [(Choice(["ID"], "*@x.example", limit=2), True)]
    assert replace(got[0][0], limit=None) == Choice(["ID"], "*@x.example")


def test_nothing_is_drawn_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    """A script's error output has no bar in it."""
    with choosing.progress(2, quiet=False) as advance:
        advance(2)
    assert capsys.readouterr().err == ""


def test_an_own_argument_may_stand_before_the_choice() -> None:
    """As it does on the command line."""
    got: list[Any] = []
    app = typer.Typer()

    @app.command()
    @choosing.choosing
    def act(*, word: Annotated[str, typer.Argument()] = "", choice: Choice) -> None:
        got.append((word, choice.ids))

    assert CliRunner().invoke(app, ["there", "ID"]).exit_code == 0
    assert got == [("there", ["ID"])]


def test_ctrl_c_is_noticed_once_and_then_ends_all() -> None:
    """The first lets the step under way end; who presses it again won't wait for that."""
    with choosing.stoppable() as is_stopped:
        assert not is_stopped()
        signal.raise_signal(signal.SIGINT)
        assert is_stopped()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_a_script_runs_in_the_background_is_not_stopped() -> None:
    """It ignores Ctrl-C, which is meant for the script's foreground."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with choosing.stoppable() as is_stopped:
            signal.raise_signal(signal.SIGINT)
            assert not is_stopped()
    finally:
        signal.signal(signal.SIGINT, before)


def test_lots_are_bounded_by_their_number_and_their_size() -> None:
    """A large message may be alone in one."""
    lots = choosing.in_lots([1, 1, 1, 9, 2, 1, 1], int, most=3, octets=5)
    assert list(lots) == [[1, 1, 1], [9], [2, 1, 1]]


async def test_the_next_is_fetched_while_one_is_worked_on() -> None:
    """One, and no more."""
    fetched = []

    async def numbers() -> AsyncIterator[int]:
        for number in range(5):
            fetched.append(number)
            yield number

    async with aclosing(choosing.ahead(numbers())) as coming:
        async for number in coming:
            await asyncio.sleep(0)
            assert fetched == list(range(min(number + 2, 5)))
            if number == 3:
                break
    assert number == 3


async def test_what_goes_wrong_with_the_next_is_told_when_its_turn_comes() -> None:
    """So that nothing before it is lost."""

    async def numbers() -> AsyncIterator[int]:
        yield 1
        raise OSError("no more")

    coming = choosing.ahead(numbers())
    assert await anext(coming) == 1
    await asyncio.sleep(0)
    with pytest.raises(OSError, match="no more"):
        await anext(coming)
