"""`filterrelay quarantine` shows what filters set aside and acts on it."""

from pathlib import Path

import pytest

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


@pytest.mark.usefixtures("filled")
def test_nothing_named_is_wrong_usage(filterrelay: Run) -> None:
    """Releasing all spam by accident would be a pity."""
    assert filterrelay("quarantine", "release").code == 2
