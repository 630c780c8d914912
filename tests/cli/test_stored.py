"""Choosing stored messages, and showing them."""

import signal
from datetime import timedelta
from pathlib import Path

import pytest
import typer

from filterrelay.cli.stored import Choice, header_of, opened_spool, report_change
from filterrelay.settings.file import load
from filterrelay.spool.store import State


def test_a_choice_becomes_the_spools_selection() -> None:
    """IDs in capitals, times as durations."""
    selection = Choice([" 1m82v "], "*@office.example", older_than="4h").selection(State.HELD)
    assert selection.ids == ("1M82V",)
    assert selection.states == (State.HELD,)
    assert selection.older_than == timedelta(hours=4)


def test_a_time_that_cannot_be_read_is_wrong_usage() -> None:
    """With an example of one that can."""
    with pytest.raises(typer.BadParameter, match="4h"):
        Choice(older_than="soon").selection(State.QUEUED)


@pytest.mark.parametrize("choice", [Choice(sender="a b"), Choice(recipient="@b.example")])
def test_a_pattern_that_can_match_nobody_is_wrong_usage(choice: Choice) -> None:
    """Else it would look as if there were no such mail."""
    with pytest.raises(typer.BadParameter, match="address pattern"):
        choice.selection(State.QUEUED)


@pytest.mark.parametrize("choice", [Choice([]), Choice(None), Choice(limit=3)])
def test_changing_everything_must_be_said(choice: Choice) -> None:
    """Nothing named is wrong usage."""
    with pytest.raises(typer.BadParameter, match="--all"):
        choice.must_name_something()


@pytest.mark.parametrize("choice", [Choice(["1"]), Choice(upstream="mx"), Choice(every=True)])
def test_what_is_named_is_enough(choice: Choice) -> None:
    """An ID, a filter, or --all."""
    choice.must_name_something()


async def test_a_command_cannot_be_stopped_while_it_holds_the_spool(configuration: Path) -> None:
    """Ctrl-Z in its turn to write would hold up all mail; it works again afterwards."""
    before = signal.getsignal(signal.SIGTSTP)
    async with opened_spool(load(configuration, {})):
        assert signal.getsignal(signal.SIGTSTP) is signal.SIG_IGN
    assert signal.getsignal(signal.SIGTSTP) is before


def test_the_header_ends_at_the_empty_line() -> None:
    """The text of a letter is nobody's business here."""
    assert header_of(b"Subject: a\r\nTo: b\r\n\r\nsecret") == "Subject: a\nTo: b"


@pytest.mark.parametrize(("count", "text"), [(1, "held: 1 message\n"), (2, "held: 2 messages\n")])
def test_changes_are_counted(capsys: pytest.CaptureFixture[str], count: int, text: str) -> None:
    """In a sentence."""
    report_change("held", count, as_json=False)
    assert capsys.readouterr().out == text
