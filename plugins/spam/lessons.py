"""Learning: messages that a person has sorted, counted token by token."""

from array import array
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fcntl import LOCK_EX, flock
from hashlib import blake2b
from pathlib import Path
from typing import Literal

from filterrelay_plugins.spam.learned import MAX_DIGESTS, MAX_TOKENS, Learned, file_in, read, write

from filterrelay.plugin import Message


@dataclass(slots=True)
class _Kind:
    """The messages of one kind. digests: the oldest first (a dictionary for its order)."""

    messages: int
    digests: dict[int, None] = field(default_factory=dict)

    def add(self, digest: int) -> None:
        self.messages += 1
        self.digests[digest] = None
        if len(self.digests) > MAX_DIGESTS:
            del self.digests[next(iter(self.digests))]

    def remove(self, digest: int) -> None:
        self.messages = max(0, self.messages - 1)
        del self.digests[digest]


class Lessons:
    """All that was learned so far, ready to learn more."""

    def __init__(self, learned: Learned) -> None:
        """Begins with what is known."""
        self._spam = _Kind(learned.spam_messages, dict.fromkeys(learned.spam_digests))
        self._ham = _Kind(learned.ham_messages, dict.fromkeys(learned.ham_digests))
        self._seen: Counter[int] = Counter()  # messages that had the token; tokens oldest first
        self._in_spam: Counter[int] = Counter()
        for key, in_spam, in_ham in reversed(list(learned.entries())):
            self._seen[key] = in_spam + in_ham
            self._in_spam[key] = in_spam

    @property
    def spam(self) -> int:
        """How many spam messages are known."""
        return self._spam.messages

    @property
    def ham(self) -> int:
        """How many other messages are known."""
        return self._ham.messages

    def learn(
        self, digest: int, keys: Collection[int], *, spam: bool
    ) -> Literal["learned", "moved", "known"]:
        """Counts a message once; one known as the other kind moves."""
        kind, other = (self._spam, self._ham) if spam else (self._ham, self._spam)
        if digest in kind.digests:
            return "known"
        moved = digest in other.digests
        if moved:
            other.remove(digest)
        else:
            self._seen.update(keys)
        if spam:
            self._in_spam.update(keys)
        elif moved:
            self._in_spam.subtract(keys)
        kind.add(digest)
        return "moved" if moved else "learned"

    def learned(self) -> Learned:
        """What to keep: of too many tokens the rarest are left out, of those the oldest first."""
        keys = list(reversed(self._seen))
        keys.sort(key=self._seen.__getitem__, reverse=True)
        del keys[MAX_TOKENS:]
        in_spam = [min(max(self._in_spam[key], 0), self._seen[key]) for key in keys]
        return Learned(
            self.spam,
            self.ham,
            array("I", keys),
            array("I", in_spam),
            array("I", (self._seen[key] - s for key, s in zip(keys, in_spam, strict=True))),
            array("Q", self._spam.digests),
            array("Q", self._ham.digests),
        )


@contextmanager
def lessons_in(state_dir: Path) -> Iterator[Lessons]:
    """The lessons, one learner at a time, written when all went well. Raises DamagedFile."""
    with (state_dir / "learn.lock").open("ab") as lock:
        flock(lock, LOCK_EX)
        path = file_in(state_dir)
        lessons = Lessons(read(path))
        yield lessons
        write(path, lessons.learned())


def digest_of(message: Message) -> int:
    """Tells messages apart by ID, date and body: what later fields on top don't change."""
    digest = blake2b(message.raw[message.header_end :].strip(), digest_size=8)
    has_id = bool(message.get("message-id"))
    for name in ("message-id", "date") if has_id else ("from", "subject", "date"):
        digest.update(b"\0" + message.get(name).encode("utf-8", "replace"))
    return int.from_bytes(digest.digest(), "little")
