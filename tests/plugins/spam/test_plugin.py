"""The spam filter at work: thresholds, marks, learning while it runs."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from filterrelay_plugins.spam import LOOK_AGAIN, Spam, SpamOptions
from filterrelay_plugins.spam.learned import file_in

from filterrelay.mail.edits import edit_message
from filterrelay.plugin import Message, Pass, Quarantine, Reject
from filterrelay.plugin.discovery import BadOptions
from filterrelay.plugin.learning import Learner
from filterrelay.plugin.testing import FakeClock, a_message, a_session, running

GTUBE = Message.stored("GTUBE", (Path(__file__).parent.parent / "data" / "gtube.eml").read_bytes())
# EXCUSE 2.0, INCOME 1.5, PRESSURE 1.5, DOLLARS 1.0
SALES = "This is not spam! Make money, act now, order now, $$$ are waiting.\n"
POINTS = 6.0


async def verdict_on(message: Message, *, session: Any = None, **options: Any) -> Any:
    """What the filter says of a message before it has learned anything."""
    async with running("spam", **options) as plugin:
        return await plugin.on_message(session or a_session(), message)


async def test_mail_between_people_passes_unchanged() -> None:
    """No points, no edits, and a finding that says so."""
    verdict = await verdict_on(a_message("Shall we meet at noon?\n"))
    assert isinstance(verdict, Pass)
    assert verdict.edits == ()
    assert verdict.finding is not None
    assert (verdict.finding.result, verdict.finding.score) == ("ham", 0.0)


async def test_gtube_is_refused() -> None:
    """The message that SpamAssassin ships to try a filter with."""
    verdict = await verdict_on(GTUBE)
    assert isinstance(verdict, Reject)
    assert verdict.reply.code == 550
    assert verdict.finding is not None
    assert verdict.finding.score is not None
    assert verdict.finding.score >= 1000


@pytest.mark.parametrize(
    ("options", "kind", "result"),
    [
        ({"tag": 6.1}, Pass, "ham"),
        ({"tag": 5.9}, Pass, "tagged"),
        ({"quarantine": 5.9}, Quarantine, "spam"),
        ({"quarantine": 5.5, "reject": 5.9}, Reject, "spam"),
        ({"quarantine": "off", "reject": 5.9}, Reject, "spam"),
        ({"tag": "off", "quarantine": "off", "reject": "off"}, Pass, "ham"),
    ],
)
async def test_each_threshold_does_its_part(
    options: dict[str, Any], kind: type[Pass | Quarantine | Reject], result: str
) -> None:
    """The highest that is reached decides; each may be off."""
    verdict = await verdict_on(a_message(SALES), **options)
    assert (verdict.finding.score, verdict.finding.result) == (POINTS, result)
    assert isinstance(verdict, kind)


async def test_thresholds_out_of_order_are_refused_at_start() -> None:
    """A reject threshold below the quarantine's is a slip of the hand."""
    with pytest.raises(BadOptions, match=r"reject \(3\) lies below quarantine \(10\)"):
        await verdict_on(GTUBE, reject=3)


async def test_a_tagged_message_is_marked_in_its_header() -> None:
    """Flag, score and report; what the sender wrote there before is gone."""
    message = a_message(SALES, x_spam_flag="NO", x_spam_score="-99")
    verdict = await verdict_on(message)
    assert isinstance(verdict, Pass)
    marked = edit_message(message, verdict.edits)
    assert [h.value for h in marked.all("X-Spam-Flag")] == ["YES"]
    assert [h.value for h in marked.all("X-Spam-Score")] == ["6.0"]
    assert marked.get("X-Spam-Report").split("\t")[0].strip() == (
        "+2.0 EXCUSE: Explains that it is no spam"
    )
    assert marked.body == message.body


async def test_the_score_can_stand_in_every_message() -> None:
    """For those who sort mail themselves."""
    message = a_message("Shall we meet at noon?\n", x_spam_score="-99")
    verdict = await verdict_on(message, always_add_header=True)
    assert isinstance(verdict, Pass)
    marked = edit_message(message, verdict.edits)
    assert [h.value for h in marked.all("X-Spam-Score")] == ["0.0"]


@pytest.mark.parametrize("client", [{"login": "alice"}, {"trusted": True}])
async def test_known_clients_are_read_too_unless_told_otherwise(client: dict[str, Any]) -> None:
    """A stolen password sends spam; but an office may trust its own."""
    session = a_session(**client)
    assert isinstance(await verdict_on(GTUBE, session=session), Reject)
    assert await verdict_on(GTUBE, session=session, skip_authenticated=True) is None
    assert isinstance(await verdict_on(GTUBE, skip_authenticated=True), Reject)


async def test_the_finding_explains_the_score() -> None:
    """Each rule with its points and what it means, the strongest first."""
    verdict = await verdict_on(a_message(SALES))
    assert verdict.finding.text == "6.0 points (EXCUSE, INCOME, PRESSURE, DOLLARS)"
    assert verdict.finding.details[0] == ("EXCUSE", "+2 Explains that it is no spam")


def lessons(kind: str) -> list[Message]:
    """A hundred messages of a kind, each with words of its own."""
    text = {"spam": "cheap watches replica", "ham": "quarterly report attached"}[kind]
    return [
        a_message(f"{text} number{n}\n", message_id=f"<{kind}{n}@x.example>") for n in range(100)
    ]


def learn_both(state_dir: Path) -> None:
    """Teaches the classifier just enough to speak."""
    state_dir.mkdir(exist_ok=True)
    plugin = Spam(SpamOptions())
    assert plugin.learn("spam", lessons("spam"), state_dir).note
    lesson = plugin.learn("ham", lessons("ham"), state_dir)
    assert (lesson.spam, lesson.ham, lesson.note) == (100, 100, "")


async def test_a_running_filter_notices_what_was_learned(
    tmp_path: Path, fake_clock: FakeClock
) -> None:
    """Without a restart, within seconds; and it names the tokens."""
    message = a_message("cheap watches replica\n")
    async with running("spam", state_dir=tmp_path, clock=fake_clock) as plugin:
        learn_both(tmp_path / "spam")
        before = await plugin.on_message(a_session(), message)
        fake_clock.advance(timedelta(seconds=LOOK_AGAIN))
        after = await plugin.on_message(a_session(), message)
        ham = await plugin.on_message(a_session(), a_message("quarterly report attached\n"))
    assert (before.finding.result, after.finding.result) == ("ham", "spam")
    assert "cheap watches" in dict(after.finding.details)["classifier"]
    assert ham.finding.score < 0


async def test_a_damaged_file_silences_the_classifier_and_nothing_else(tmp_path: Path) -> None:
    """Mail goes on with the rules alone."""
    learn_both(tmp_path / "spam")
    file_in(tmp_path / "spam").write_bytes(b"FRSPAM01 and then nonsense, long enough")
    async with running("spam", state_dir=tmp_path) as plugin:
        known = await plugin.on_message(a_session(), a_message("cheap watches replica\n"))
        gtube = await plugin.on_message(a_session(), GTUBE)
    assert known.finding.score == 0
    assert isinstance(gtube, Reject)


async def test_a_file_that_is_mended_is_read_again(tmp_path: Path, fake_clock: FakeClock) -> None:
    """Learning anew is enough."""
    (tmp_path / "spam").mkdir()
    file_in(tmp_path / "spam").write_bytes(b"nonsense")
    async with running("spam", state_dir=tmp_path, clock=fake_clock) as plugin:
        file_in(tmp_path / "spam").unlink()
        learn_both(tmp_path / "spam")
        fake_clock.advance(timedelta(seconds=LOOK_AGAIN))
        verdict = await plugin.on_message(a_session(), a_message("cheap watches replica\n"))
    assert verdict.finding.result == "spam"


def test_it_is_a_plugin_that_learns() -> None:
    """So `filterrelay learn` finds it."""
    assert isinstance(Spam(SpamOptions()), Learner)
