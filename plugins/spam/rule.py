"""What a rule is, and phrases that are looked for in constant time."""

from collections.abc import Callable
from dataclasses import dataclass

from filterrelay_plugins.spam.reading import Reading, split_words


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that spam has more often than other mail.

    name: capitals, stable, for the report header. points: what it adds when it
    holds. description: what the report says, a sentence without full stop.
    """

    name: str
    points: float
    description: str
    holds: Callable[[Reading], bool]


class Phrases:
    """Phrases of which a message holds some number.

    A phrase is looked for only when all its words are there, which a set knows
    without reading the text again.
    """

    __slots__ = ("_phrases", "_wanted")

    def __init__(self, phrases: str, wanted: int = 1) -> None:
        """Takes the phrases, commas between them; `wanted` different ones must be there."""
        words = [split_words(phrase, 20) for phrase in phrases.split(",")]
        self._phrases = [(frozenset(w), b" %b " % b" ".join(w), len(w) == 1) for w in words]
        self._wanted = wanted

    def __call__(self, reading: Reading) -> bool:
        """Whether subject and text hold enough of them."""
        vocabulary = reading.vocabulary
        found = 0
        for words, phrase, single in self._phrases:
            if words <= vocabulary and (single or phrase in reading.phrases):
                found += 1
                if found == self._wanted:
                    return True
        return False


def listed(words: str) -> frozenset[str]:
    """The words of a list that is written in lines."""
    return frozenset(words.split())
