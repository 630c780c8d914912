"""The classifier: f(w), and the mean of log-odds."""

from math import isfinite, log

import pytest
from filterrelay_plugins.spam.classifier import SILENT, Classifier, classifier, log_odds
from filterrelay_plugins.spam.tokens import tokens_of

from .conftest import Reader


def test_it_says_nothing_before_it_knows_100_of_each_kind(reading: Reader) -> None:
    """Little knowledge is worse than none."""
    tokens = tokens_of(reading(), ())
    entries = [(key, 50, 0) for key in tokens.keys]
    assert not classifier(entries, 1000, 99)
    assert not classifier(entries, 99, 1000)
    assert classifier(entries, 100, 100)
    assert not SILENT


def test_a_token_is_trusted_the_more_the_oftener_it_was_seen() -> None:
    """Robinson's f(w): one message is a hint, a hundred are evidence."""
    once, often = log_odds(0.01, 0, 1), log_odds(1, 0, 100)
    assert 0 < once < often
    assert once == pytest.approx(log((0.15 + 1) / 0.15))


def test_spam_and_ham_tokens_mirror_each_other() -> None:
    """The kinds of mail are treated alike."""
    assert log_odds(0.2, 0.01, 30) == pytest.approx(-log_odds(0.01, 0.2, 30))
    assert log_odds(0.1, 0.1, 30) == 0
    assert log_odds(0, 0, 0) == 0


def test_it_weighs_shares_not_numbers() -> None:
    """Ten times as much ham as spam learned doesn't make everything ham."""
    known = classifier([(1, 10, 10), (2, 10, 100)], 100, 1000)
    assert len(known) == 1  # the second tells nothing: a tenth of each kind has it


def test_a_long_message_does_not_underflow(reading: Reader) -> None:
    """500 strong words of each kind are undecided, and one more kind of word decides.

    The product of their probabilities is far below the smallest number there is.
    """
    spam, ham = (" ".join(f"{kind}{n}" for n in range(249)) for kind in ("bad", "good"))
    tokens = tokens_of(reading(f"{spam} {ham}"), ())
    bad = tokens_of(reading(spam), ()).keys
    odds = {key: 9.0 if key in bad else -9.0 for key in tokens.keys}
    both = Classifier(odds).judge(tokens, 0)
    only = Classifier(odds).judge(tokens_of(reading(spam), ()), 0)
    assert both is not None
    assert only is not None
    assert isfinite(both.points)
    assert -8 <= both.points < 5 < only.points <= 12


def test_it_names_the_strongest_tokens(reading: Reader) -> None:
    """A person sees why."""
    tokens = tokens_of(reading("cheap watches today"), ())
    odds = dict.fromkeys(tokens.keys, 1.1)
    odds |= {key: 4.0 for key in tokens.keys if tokens.name(key) == "cheap watches"}
    odds |= {key: -3.0 for key in tokens.keys if tokens.name(key) == "today"}
    opinion = Classifier(odds).judge(tokens, 2)
    assert opinion is not None
    assert opinion.strongest == (("cheap watches", 4.0), ("today", -3.0))


def test_where_mail_comes_from_counts_double(reading: Reader) -> None:
    """The sender and the links tell more than a word does."""
    read_as = reading("word", **{"from": "a@b.example"})
    tokens = tokens_of(read_as, ())
    by_name = {tokens.name(key): key for key in tokens.keys}
    word = Classifier({by_name["word"]: 3.0}).judge(tokens, 0)
    origin = Classifier({by_name["from:b.example"]: 3.0}).judge(tokens, 0)
    assert word is not None
    assert origin is not None
    assert origin.points > 1.5 * word.points
