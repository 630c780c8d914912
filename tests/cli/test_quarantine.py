"""`filterrelay quarantine` shows what filters set aside and acts on it."""

from pathlib import Path

import pytest

from filterrelay.cli import quarantine
from filterrelay.cli.common import run
from filterrelay.cli.stored import Choice
from filterrelay.settings.file import load
from filterrelay.spool.sqlite import SqliteSpool
from filterrelay.spool.store import NoSuchMessage

from .conftest import Run
from .stored_mail import ALICE, SPAM, fill, state_of


@pytest.fixture
def filled(configuration: Path) -> Path:
    """The configuration, with mail in its spool."""
    fill(configuration)
    return configuration


@pytest.mark.usefixtures("filled")
def test_the_list_tells_which_filter_and_why(filterrelay: Run) -> None:
    """Queued mail is not in it."""
    ran = filterrelay("quarantine", "list")
    assert ran.code == 0, ran.err
    assert "a program is attached" in " ".join(ran.out.split())
    (message,) = filterrelay("quarantine", "list", "--json").json
    assert (message["id"], message["by"]) == (SPAM, "attachments")


@pytest.mark.usefixtures("filled")
def test_one_message_is_shown(filterrelay: Run) -> None:
    """Its header, and its text when asked for."""
    assert "Hello." not in filterrelay("quarantine", "show", SPAM).out
    assert "Hello." in filterrelay("quarantine", "show", SPAM, "--whole").out


@pytest.mark.usefixtures("filled")
def test_queued_mail_is_not_in_quarantine(filterrelay: Run) -> None:
    """Exit code 1, with a sentence."""
    for verb in ("show", "release", "delete"):
        assert filterrelay("quarantine", verb, ALICE).code == 1


def test_released_mail_is_on_its_way(filterrelay: Run, filled: Path) -> None:
    """Signed, and due now."""
    ran = filterrelay("quarantine", "release", SPAM, "--json")
    assert ran.json == {"released": [SPAM], "kept": {}}, ran.err
    assert state_of(filled, SPAM) == "queued"


def test_mail_that_another_filter_refuses_stays(filterrelay: Run, filled: Path) -> None:
    """Overruling one filter doesn't overrule the others."""
    filled.write_text(filled.read_text() + '[[filter]]\nuse = "spam"\n')
    ran = filterrelay("quarantine", "release", SPAM, "--json")
    assert ran.code == 1, ran.err
    assert list(ran.json["kept"]) == [SPAM]
    assert state_of(filled, SPAM) == "quarantined"


def test_deleted_mail_is_gone(filterrelay: Run, filled: Path) -> None:
    """And nobody is told."""
    assert filterrelay("quarantine", "delete", "--all").out == "deleted: 1 message\n"
    assert [state_of(filled, id_) for id_ in (ALICE, SPAM)] == ["queued", ""]


LEARNS = '[[filter]]\nuse = "spam"\nmode = "shadow"\n'


def test_released_mail_can_be_learned_as_wanted(filterrelay: Run, filled: Path) -> None:
    """So that the same mistake isn't made twice."""
    filled.write_text(filled.read_text() + LEARNS)
    ran = filterrelay("quarantine", "release", SPAM, "--learn-ham")
    assert ran.code == 0, ran.err
    assert ran.out.startswith("released: 1 message\nspam: learned 1 message as ham; ")


def test_deleted_mail_can_be_learned_as_spam(filterrelay: Run, filled: Path) -> None:
    """In one command, before it is gone."""
    filled.write_text(filled.read_text() + LEARNS)
    ran = filterrelay("quarantine", "delete", "--all", "--learn-spam", "--json")
    assert ran.code == 0, ran.err
    assert (ran.json["deleted"], ran.json["learned"]["spam"]["learned"]) == (1, 1)
    assert state_of(filled, SPAM) == ""


def test_without_a_filter_that_learns_nothing_is_deleted(filterrelay: Run, filled: Path) -> None:
    """What was asked for can't be done, so nothing is."""
    ran = filterrelay("quarantine", "delete", "--all", "--learn-spam")
    assert (ran.code, "learns" in ran.err) == (1, True)
    assert state_of(filled, SPAM) == "quarantined"


@pytest.mark.usefixtures("filled")
def test_a_message_that_is_gone_is_said_to_be_so(filterrelay: Run) -> None:
    """In the words of every other command."""
    assert filterrelay("quarantine", "delete", SPAM).code == 0
    ran = filterrelay("quarantine", "show", SPAM)
    assert (ran.code, ran.err.partition(";")[0]) == (
        1,
        f"filterrelay: there is no message {SPAM} here",
    )


def test_a_message_that_somebody_else_released_stops_no_other(
    monkeypatch: pytest.MonkeyPatch, filled: Path
) -> None:
    """Two postmasters at work at once."""

    async def gone(_: SqliteSpool, message_id: str) -> bytes:
        raise NoSuchMessage(message_id)

    monkeypatch.setattr(SqliteSpool, "body", gone)
    released, kept = run(quarantine._release(load(filled, {}), Choice(every=True), None))
    assert (released, kept) == ([], {SPAM: "somebody else has released or deleted it"})


@pytest.mark.usefixtures("filled")
def test_nothing_named_is_wrong_usage(filterrelay: Run) -> None:
    """Releasing all spam by accident would be a pity."""
    assert filterrelay("quarantine", "release").code == 2
