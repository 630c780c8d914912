"""Lessons: what is counted when, and what is kept."""

import subprocess
import sys
from array import array
from pathlib import Path

import pytest
from filterrelay_plugins.spam import lessons as module
from filterrelay_plugins.spam.learned import Learned, file_in, read
from filterrelay_plugins.spam.lessons import Lessons, digest_of, lessons_in

from filterrelay.plugin.testing import a_message


def counts(lessons: Lessons) -> dict[int, tuple[int, int]]:
    """Each token's counts in spam and ham."""
    return {key: (spam, ham) for key, spam, ham in lessons.learned().entries()}


def test_a_message_counts_once() -> None:
    """Learning the same folder again changes nothing."""
    lessons = Lessons(Learned())
    assert lessons.learn(1, {10, 11}, spam=True) == "learned"
    assert lessons.learn(1, {10, 11}, spam=True) == "known"
    assert counts(lessons) == {10: (1, 0), 11: (1, 0)}
    assert (lessons.spam, lessons.ham) == (1, 0)


@pytest.mark.parametrize("spam", [True, False])
def test_a_message_learned_as_the_other_kind_moves(spam: bool) -> None:
    """A mistake is mended by learning it right."""
    lessons = Lessons(Learned())
    lessons.learn(1, {10}, spam=not spam)
    lessons.learn(2, {10}, spam=not spam)
    assert lessons.learn(1, {10}, spam=spam) == "moved"
    assert counts(lessons) == {10: (1, 1)}
    assert (lessons.spam, lessons.ham) == (1, 1)


def test_moving_survives_the_file() -> None:
    """Also when it was learned months before."""
    first = Lessons(Learned())
    first.learn(1, {10}, spam=True)
    second = Lessons(first.learned())
    assert second.learn(1, {10}, spam=False) == "moved"
    assert counts(second) == {10: (0, 1)}


def test_of_too_many_tokens_the_rarest_and_oldest_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory has a bound, and what is frequent or new stays."""
    monkeypatch.setattr(module, "MAX_TOKENS", 3)
    lessons = Lessons(Learned())
    for digest, keys in enumerate(({1}, {2, 9}, {3, 9}, {4})):
        lessons.learn(digest, keys, spam=True)
    assert set(counts(lessons)) == {9, 4, 3}
    again = Lessons(lessons.learned())
    again.learn(7, {5}, spam=False)
    assert set(counts(again)) == {9, 5, 4}


def test_old_messages_are_forgotten_as_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """The list of what was learned has a bound, too."""
    monkeypatch.setattr(module, "MAX_DIGESTS", 2)
    lessons = Lessons(Learned())
    for digest in (1, 2, 3):
        lessons.learn(digest, {digest}, spam=True)
    assert lessons.learned().spam_digests == array("Q", [2, 3])
    assert lessons.spam == 3


def test_an_error_on_the_way_learns_nothing(tmp_path: Path) -> None:
    """All of a folder or none of it."""

    def learn_and_fail() -> None:
        with lessons_in(tmp_path) as lessons:
            lessons.learn(1, {10}, spam=True)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        learn_and_fail()
    assert not file_in(tmp_path).exists()


LEARN_20 = """
import sys
from pathlib import Path
from filterrelay_plugins.spam.lessons import lessons_in
first = int(sys.argv[2])
for digest in range(first, first + 20):
    with lessons_in(Path(sys.argv[1])) as lessons:
        lessons.learn(digest, {digest}, spam=True)
"""


def test_two_who_learn_at_once_wait_for_each_other(tmp_path: Path) -> None:
    """Nothing of either's work is lost."""
    others = [
        subprocess.Popen([sys.executable, "-c", LEARN_20, str(tmp_path), first])
        for first in ("0", "100")
    ]
    assert [other.wait(timeout=60) for other in others] == [0, 0]
    assert read(file_in(tmp_path)).spam_messages == 40


def test_what_is_added_on_top_does_not_make_another_message() -> None:
    """Mail that went through a mailbox has new fields; it is the same mail."""
    message = a_message("Hello.\n")
    travelled = a_message(b"X-Spam-Flag: YES\nStatus: RO\n" + message.raw + b"\n")
    assert digest_of(travelled) == digest_of(message)
    assert digest_of(a_message("Goodbye.\n")) != digest_of(message)
