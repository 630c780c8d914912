"""A message's tokens: words, header words and close pairs, as 32-bit keys.

A key is the CRC-32 of the token as it would be written, `subject:free money`.
It is computed from left to right, so a pair's key goes on from the key of its
first word, and no pair is ever built. With 300,000 tokens known, one in 14,000
new ones is taken for another, which no mean notices.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from zlib import crc32

from filterrelay_plugins.spam.reading import Reading, domain_of, field, split_words

MAX_SHOWN = 40  # characters of a token in a report
_MAX_PARTS = 8
_PAIRS = ((1, b" "), (2, b" .. "))  # how far apart two words are, and what is written between


@dataclass(frozen=True, slots=True)
class _Group:
    """Tokens of one kind. origin: they tell where a message comes from or leads to."""

    kind: bytes
    words: Sequence[bytes]
    pairs: bool = False
    origin: bool = False


class Tokens:
    """The different tokens of one message.

    keys: all of them. origin: the keys of those that tell where it comes from or leads to.
    """

    __slots__ = ("_groups", "_ordered", "keys", "origin")

    def __init__(self, groups: Iterable[_Group]) -> None:
        """Computes the keys."""
        self._groups = [group for group in groups if group.words]
        self._ordered: list[int] = []
        origin: set[int] = set()
        for group in self._groups:
            singles = list(map(crc32, group.words, repeat(crc32(group.kind))))
            self._ordered += singles
            if group.pairs:
                for apart, between in _PAIRS:
                    begun = map(crc32, repeat(between), singles)
                    self._ordered += map(crc32, group.words[apart:], begun)
            if group.origin:
                origin.update(singles)
        self.keys = frozenset(self._ordered)
        self.origin = frozenset(origin)

    def __len__(self) -> int:
        return len(self.keys)

    def name(self, key: int) -> str:
        """The token of that key as a report shows it."""
        place = self._ordered.index(key)
        for group in self._groups:
            words = group.words
            if place < len(words):
                return _shown(group.kind + words[place])
            place -= len(words)
            for apart, between in _PAIRS if group.pairs else ():
                pairs = max(0, len(words) - apart)
                if place < pairs:
                    return _shown(group.kind + words[place] + between + words[place + apart])
                place -= pairs
        raise AssertionError("every key has its place")


def tokens_of(reading: Reading, rules: Iterable[str]) -> Tokens:
    """The tokens of a message of which these rules hold."""
    message = reading.message
    program = field(message, "x-mailer") or field(message, "user-agent")
    return Tokens(
        (
            _Group(b"", reading.words, pairs=True),
            _Group(b"subject:", reading.subject_words, pairs=True),
            _Group(b"part:", _part_words(reading)),
            _Group(b"rule:", [_octets(rule) for rule in rules]),
            _Group(b"from:", _sender_words(reading), origin=True),
            _Group(b"program:", split_words(program, 6), origin=True),
            _Group(b"link:", [_octets(host) for host in reading.hosts], origin=True),
        )
    )


def _sender_words(reading: Reading) -> list[bytes]:
    """The words of the sender's name, its domain and top-level domain.

    A domain that is the recipient's own, too, is left out: everybody writes it there.
    """
    name, bracket, _ = reading.sender.partition("<")
    words = list(split_words(name, 10)) if bracket else []
    domain = domain_of(reading.sender)
    if domain and domain != domain_of(field(reading.message, "to")):
        words += (_octets(domain), _octets("." + domain.rpartition(".")[2]))
    return words


def _part_words(reading: Reading) -> list[bytes]:
    words = []
    for part in reading.parts[:_MAX_PARTS]:
        described = (f"{part.content_type} {part.disposition}", part.charset, part.encoding)
        words += [_octets(text.lower()[:80]) for text in described]
    return words


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _shown(token: bytes) -> str:
    text = token.decode("utf-8", "replace")
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 1]}…"
