"""`filterrelay queue` shows what waits and acts on it."""

import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import Run
from .stored_mail import ALICE, BOB, BODY, GTUBE, SPAM, fill, state_of


@pytest.fixture
def filled(configuration: Path) -> Path:
    """The configuration, with mail in its spool."""
    fill(configuration)
    return configuration


@pytest.mark.usefixtures("filled")
def test_the_list_tells_what_waits_and_why(filterrelay: Run) -> None:
    """In a table, with the last reply; quarantined mail is not in it."""
    ran = filterrelay("queue", "list")
    assert ran.code == 0, ran.err
    words = " ".join(ran.out.split())
    assert "2 messages" in words
    assert "alice@office.example" in words
    assert SPAM not in words


@pytest.mark.usefixtures("filled")
def test_the_list_as_json_has_every_figure(filterrelay: Run) -> None:
    """One document, oldest first, times in ISO 8601 and UTC."""
    listed = filterrelay("queue", "list", "--json").json
    assert [message["id"] for message in listed] == [ALICE, BOB]
    (recipient,) = listed[0]["recipients"]
    assert recipient["last_reply"] == "450 4.2.0 Greylisted"
    assert recipient["attempts"] == 1
    assert listed[0]["next_attempt"].endswith("Z")


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        (("--sender", "*@shop.example"), [BOB]),
        (("--older-than", "30m"), [ALICE]),
        (("--recipient", "partner.example", "--limit", "1"), [ALICE]),
        (("--upstream", "provider", "--sender", "*@shop.example"), [BOB]),
        (("--state", "held"), []),
    ],
)
def test_filters_restrict_the_list(
    filterrelay: Run, filters: tuple[str, ...], ids: list[str]
) -> None:
    """All of them together."""
    listed = filterrelay("queue", "list", "--json", *filters).json
    assert [message["id"] for message in listed] == ids


@pytest.mark.usefixtures("filled")
def test_what_waits_is_summed_up_by_hop(filterrelay: Run) -> None:
    """How much, since when, and what its next hop says."""
    assert filterrelay("queue", "hold", BOB, "--reason", "ask Bob first").code == 0
    assert filterrelay("queue", "redirect", "provider", ALICE).code == 0
    words = " ".join(filterrelay("queue", "summary").out.split())
    assert "provider queued 1 1 h 450 4.2.0 Greylisted" in words
    assert words.endswith("2 messages")
    found = {each["state"]: each for each in filterrelay("queue", "summary", "--json").json}
    assert found["queued"]["hop"] == "provider"
    assert found["queued"]["last_reply"] == "450 4.2.0 Greylisted"
    assert found["held"]["reason"] == "ask Bob first"


@pytest.mark.usefixtures("filled")
def test_the_history_is_shown_with_the_message(filterrelay: Run) -> None:
    """What operators did to it, too."""
    assert filterrelay("queue", "hold", ALICE, "--reason", "ask Bob first").code == 0
    assert "held\n  reason: ask Bob first" in filterrelay("queue", "show", ALICE).out
    assert filterrelay("queue", "show", ALICE, "--json").json["events"][-1]["kind"] == "held"


@pytest.mark.usefixtures("filled")
def test_one_message_is_shown_with_its_header(filterrelay: Run) -> None:
    """Nothing in it can command the terminal."""
    ran = filterrelay("queue", "show", ALICE.lower())
    assert ran.code == 0, ran.err
    assert "Subject: Lunch" in ran.out
    assert "Greylisted" in ran.out
    assert "\x1b" not in ran.out
    assert filterrelay("queue", "show", ALICE, "--json").json["header"].startswith("Subject: Lunch")


def test_an_unknown_message_is_exit_code_1(filterrelay: Run, configuration: Path) -> None:
    """With a sentence, for every command that takes an ID."""
    for verb in ("show", "retry", "delete"):
        ran = filterrelay("queue", verb, "NoSuchMessage")
        assert ran.code == 1
        assert ran.err.startswith("filterrelay: there is no message NoSuchMessage here; ")


def test_held_mail_waits_until_it_is_released(filterrelay: Run, filled: Path) -> None:
    """By its ID, and by a filter."""
    assert filterrelay("queue", "hold", ALICE, "--reason", "odd").out == "held: 1 message\n"
    assert state_of(filled, ALICE) == "held"
    assert filterrelay("queue", "release", "--all", "--json").json == {"released": 1}
    assert state_of(filled, ALICE) == "queued"


def test_what_stands_elsewhere_is_said_with_what_to_do(filterrelay: Run, filled: Path) -> None:
    """Nobody has to guess which command frees it."""
    assert filterrelay("queue", "hold", ALICE, "--reason", "ask Bob first").code == 0
    for verb in ("retry", "hold"):
        ran = filterrelay("queue", verb, BOB, ALICE)
        assert (ran.code, ran.err) == (
            1,
            f"filterrelay: {ALICE} is held; `queue release` frees it\n",
        )
    assert "in quarantine; `quarantine release`" in filterrelay("queue", "retry", SPAM).err
    assert "is queued; `queue retry`" in filterrelay("queue", "release", BOB).err
    assert state_of(filled, BOB) == "queued"


@pytest.mark.usefixtures("filled")
def test_held_mail_is_listed_with_its_reason(filterrelay: Run) -> None:
    """It has no next attempt while it is held."""
    assert filterrelay("queue", "hold", ALICE, "--reason", "ask Bob first").code == 0
    (line,) = [line for line in filterrelay("queue", "list").out.splitlines() if ALICE in line]
    assert line.split()[-6:] == ["provider", "1", "held", "ask", "Bob", "first"]
    assert filterrelay("queue", "list", "--json").json[0]["next_attempt"] is None


@pytest.mark.usefixtures("filled")
def test_the_message_itself_comes_out_whole(filterrelay: Run, configuration: Path) -> None:
    """With `> x.eml`, to be scanned, learned or read elsewhere."""
    with (configuration.parent / "x.eml").open("wb") as file:
        subprocess.run(
            [sys.executable, "-m", "filterrelay", "queue", "show", "--raw", ALICE],
            cwd=configuration.parent,
            stdout=file,
            check=True,
        )
    assert (configuration.parent / "x.eml").read_bytes() == BODY + GTUBE


@pytest.mark.usefixtures("filled")
def test_an_upstream_that_is_none_is_wrong_usage(filterrelay: Run) -> None:
    """It names those that there are; else a typing error would look like an empty queue."""
    for verb in ("list", "retry"):
        ran = filterrelay("queue", verb, "--upstream", "provder")
        assert ran.code == 2
        assert "no upstream called 'provder'; there is discard, mx, provider, reject" in " ".join(
            ran.err.split()
        )


def test_the_queue_can_be_seen_without_the_certificates_key(filterrelay: Run, filled: Path) -> None:
    """Who may read the spool need not be able to read keys and passwords."""
    key = '[tls]\ncertificate = "no.pem"\nkey = "no.key"\n'
    filled.write_text(f'{filled.read_text()}username = "x"\npassword_file = "no.password"\n{key}')
    assert filterrelay("queue", "list", "--json").code == 0
    assert filterrelay("check").code == 1


def test_retry_makes_mail_due_now(filterrelay: Run, filled: Path) -> None:
    """The running relay takes it at its next look."""
    before = filterrelay("queue", "list", "--json").json[1]["next_attempt"]
    assert filterrelay("queue", "retry", "--sender", "bob@shop.example").code == 0
    assert filterrelay("queue", "list", "--json").json[1]["next_attempt"] < before


def test_deleted_mail_is_gone_and_quarantined_mail_is_not(filterrelay: Run, filled: Path) -> None:
    """`queue delete --all` means the queue."""
    assert filterrelay("queue", "delete", "--all").out == "deleted: 2 messages\n"
    assert [state_of(filled, id_) for id_ in (ALICE, SPAM)] == ["", "quarantined"]


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize(
    "arguments",
    [
        ("delete",),
        ("retry", "--older-than", "soon"),
        ("list", "--frobnicate"),
        ("retry", "--all", "--state", "held"),
        ("redirect", "nowhere", "--all"),
        ("redirect", "provider"),
        ("redirect", "--all"),
        ("redirect", "", "--all"),
        ("hold", "--all", "--reason", "two\nlines"),
        ("hold", "--all", "--reason", "x" * 201),
        ("bounce", "--all", "--reason", "two\nlines"),
    ],
)
def test_wrong_usage_is_exit_code_2(filterrelay: Run, arguments: tuple[str, ...]) -> None:
    """No command changes all mail because nothing was named."""
    assert filterrelay("queue", *arguments).code == 2
