"""The queue's verbs that send mail elsewhere; what the spool makes of them is in its contract."""

import signal
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from filterrelay.cli import choosing
from filterrelay.cli.main import main
from filterrelay.spool.sqlite import SqliteSpool

from .conftest import Run
from .stored_mail import ALICE, BOB, SPAM, fill, state_of


@pytest.fixture
def filled(configuration: Path) -> Path:
    """The configuration, with mail in its spool and a second upstream."""
    text = configuration.read_text()
    backup = '[[upstream]]\nname = "backup"\nhosts = ["127.0.0.1:2627"]\ntls = "none"\n'
    configuration.write_text(text + backup)
    fill(configuration)
    return configuration


def recipient_of(filterrelay: Run, id_: str) -> Any:
    """The only recipient of the message, as JSON has it."""
    (recipient,) = filterrelay("queue", "show", id_, "--json").json["recipients"]
    return recipient


@pytest.mark.usefixtures("filled")
def test_redirected_mail_is_due_for_another_upstream(filterrelay: Run) -> None:
    """By its ID or by the hop that it waits for; and back again."""
    before = recipient_of(filterrelay, ALICE)
    ran = filterrelay("queue", "redirect", "backup", ALICE)
    assert (ran.code, ran.out) == (0, "redirected: 1 message\n")
    after = recipient_of(filterrelay, ALICE)
    assert (after["redirect"], after["upstream"]) == ("backup", "backup")
    assert after["next_attempt"] < before["next_attempt"]
    assert recipient_of(filterrelay, BOB)["redirect"] == ""
    done = filterrelay("queue", "redirect", "--back", "--upstream", "backup", "--json")
    assert done.json == {"redirected": 1}
    assert recipient_of(filterrelay, ALICE)["redirect"] == ""


def test_mail_can_leave_an_upstream_that_the_file_no_longer_has(
    filterrelay: Run, filled: Path
) -> None:
    """Nobody has to write it back into the file to get the mail away from it."""
    filled.write_text(filled.read_text().replace('name = "provider"', 'name = "other"'))
    done = filterrelay("queue", "redirect", "backup", "--upstream", "provider", "--json")
    assert done.json == {"redirected": 2}


def test_bounced_mail_is_for_the_relay_to_return(filterrelay: Run, filled: Path) -> None:
    """Held mail is, too, and quarantined mail isn't; the reason is kept for the report."""
    assert filterrelay("queue", "hold", BOB).code == 0
    ran = filterrelay("queue", "bounce", "--all", "--reason", "The office has closed")
    assert (ran.code, ran.out) == (0, "bounced: 2 messages\n")
    assert [state_of(filled, id_) for id_ in (ALICE, BOB, SPAM)] == [
        *("queued", "queued"),
        "quarantined",
    ]
    assert recipient_of(filterrelay, BOB)["redirect"] == "reject:The office has closed"


def test_a_limit_bounds_a_change(filterrelay: Run, filled: Path) -> None:
    """The oldest ones are meant."""
    assert filterrelay("queue", "delete", "--all", "--limit", "1", "--json").json == {"deleted": 1}
    assert [state_of(filled, id_) for id_ in (ALICE, BOB)] == ["", "queued"]


def test_only_one_state_can_be_meant(filterrelay: Run, filled: Path) -> None:
    """`--state held` leaves what is queued alone."""
    assert filterrelay("queue", "hold", BOB).code == 0
    done = filterrelay("queue", "delete", "--all", "--state", "held", "--json")
    assert done.json == {"deleted": 1}
    assert [state_of(filled, id_) for id_ in (ALICE, BOB)] == ["queued", ""]


def test_mail_goes_to_no_upstream_that_there_is_not(filterrelay: Run, configuration: Path) -> None:
    """Those that there are, are named once each."""
    direct = '[[upstream]]\nname = "mx"\nprotocol = "mx"\n'
    configuration.write_text(configuration.read_text() + direct)
    ran = filterrelay("queue", "redirect", "partnr", "--all")
    assert ran.code == 2
    assert "no upstream called 'partnr'; there is mx, provider" in " ".join(ran.err.split())


def test_the_upstream_is_told_as_an_argument(filterrelay: Run) -> None:
    """Who asks for help sees what to write, and where."""
    assert "redirect [OPTIONS] [UPSTREAM] [ID]..." in filterrelay("queue", "redirect", "--help").out


@pytest.mark.parametrize(
    ("presses", "as_json", "said"),
    [
        (1, False, "deleted: 1 message, then stopped by Ctrl-C\n"),
        (1, True, '{\n  "deleted": 1,\n  "stopped": true\n}\n'),
        (2, True, '{\n  "error": "stopped before it was done"\n}\n'),
    ],
)
def test_ctrl_c_ends_after_the_step_and_says_how_far_it_came(
    filled: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    presses: int,
    as_json: bool,
    said: str,
) -> None:
    """As shells know it, with 130; the same command goes on from there."""
    delete = SqliteSpool.delete

    async def pressed(spool: SqliteSpool, ids: Sequence[str], at: datetime) -> int:
        for _ in range(presses):
            signal.raise_signal(signal.SIGINT)
        return await delete(spool, ids, at)

    monkeypatch.setattr(SqliteSpool, "delete", pressed)
    monkeypatch.setattr(choosing, "PAGE", 1)
    arguments = ["queue", "delete", "--all", "-c", str(filled), *(["--json"] if as_json else [])]
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert (ended.value.code, capsys.readouterr().out) == (130, said)
    assert state_of(filled, BOB) == "queued"
