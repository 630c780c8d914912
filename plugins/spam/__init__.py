"""The embedded spam filter: scored rules, and a classifier that learns from sorted mail."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Literal, Self

from filterrelay_plugins.spam.classifier import LEARNED_MINIMUM, SILENT, Classifier, classifier
from filterrelay_plugins.spam.learned import DamagedFile, file_in, read, stamp
from filterrelay_plugins.spam.lessons import digest_of, lessons_in
from filterrelay_plugins.spam.reading import read as read_message
from filterrelay_plugins.spam.rules import hits
from filterrelay_plugins.spam.score import Score, score_of
from filterrelay_plugins.spam.tokens import tokens_of
from pydantic import Field, model_validator

from filterrelay.observe.clock import SystemClock
from filterrelay.plugin import (
    Edit,
    Finding,
    Message,
    Options,
    Pass,
    Quarantine,
    Reject,
    RemoveHeader,
    Reply,
    Services,
    Session,
    Verdict,
    hook,
)
from filterrelay.plugin.learning import Kind, Lesson

LOOK_AGAIN = 5.0  # seconds between looks whether something was learned
REFUSED = Reply(550, "5.7.1", "This message looks like spam")  # RFC 3463 section 3.8
OWN_FIELDS = ("X-Spam-Flag", "X-Spam-Score", "X-Spam-Report")

Threshold = float | Literal["off"]


class SpamOptions(Options):
    """Points at which something happens; `"off"` means never."""

    tag: Threshold = 5.0
    """From this score on, the fields X-Spam-Flag, X-Spam-Score and X-Spam-Report are added."""
    quarantine: Threshold = 10.0
    """From this score on, the message is set aside."""
    reject: Threshold = 20.0
    """From this score on, the message is refused with 550."""
    skip_authenticated: bool = False
    """Whether mail of logged-in clients and trusted networks passes unread."""
    always_add_header: bool = False
    """Whether X-Spam-Score is added to every message, not only to tagged ones."""
    explain: int = Field(8, ge=0, le=50)
    """How many of the strongest tokens the explanation names."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        steps = [("tag", self.tag), ("quarantine", self.quarantine), ("reject", self.reject)]
        on = [(name, value) for name, value in steps if not isinstance(value, str)]
        for (low, lower), (high, higher) in pairwise(on):
            if lower > higher:
                raise ValueError(f"{high} ({higher:g}) lies below {low} ({lower:g})")
        return self


class Spam:
    """Scores each message by rules on header, structure, links and text, and by what it learned.

    Works at once with its rules alone; `filterrelay learn spam|ham PATH…` trains the
    classifier, which speaks once it knows 100 messages of each kind.
    """

    options_type = SpamOptions
    edits = True

    def __init__(self, options: SpamOptions) -> None:
        """Takes the options; what was learned is read at start."""
        self._options = options
        self._classifier: Classifier = SILENT
        self._stamp: tuple[int, int, int] | None = None
        self._next_look = 0.0

    @hook
    @asynccontextmanager
    async def lifespan(self, services: Services) -> AsyncIterator[None]:
        """Reads what was learned."""
        self._services = services
        self._file = file_in(services.state_dir)
        await self._look()
        yield

    @hook
    async def on_message(self, session: Session, message: Message) -> Verdict | None:
        """Scores the message and does what its score asks for."""
        if self._options.skip_authenticated and session.may_relay:
            return None
        if self._services.clock.monotonic() >= self._next_look:
            await self._look()
        return self._verdict(message, self.score(message))

    def score(self, message: Message) -> Score:
        """The message's points and where they come from."""
        reading = read_message(message, self._services.clock.now())
        rules = hits(reading)
        if not self._classifier:  # a third of the work, for an opinion that it doesn't have
            return score_of(rules, None)
        tokens = tokens_of(reading, [rule.name for rule in rules])
        return score_of(rules, self._classifier.judge(tokens, self._options.explain))

    def learn(self, kind: Kind, messages: Iterable[Message], state_dir: Path) -> Lesson:
        """Counts the messages' tokens (filterrelay.plugin.learning.Learner)."""
        now = SystemClock().now()
        became = {"learned": 0, "moved": 0, "known": 0}
        with lessons_in(state_dir) as lessons:
            for message in messages:
                reading = read_message(message, now)
                tokens = tokens_of(reading, [rule.name for rule in hits(reading)])
                became[lessons.learn(digest_of(message), tokens.keys, spam=kind == "spam")] += 1
            spam, ham = lessons.spam, lessons.ham
        missing = min(spam, ham) < LEARNED_MINIMUM
        note = f"it speaks from {LEARNED_MINIMUM} messages of each kind on" if missing else ""
        return Lesson(**became, spam=spam, ham=ham, note=note)

    async def _look(self) -> None:
        """Reads what was learned if the file has changed; mail goes on if it can't be read."""
        self._next_look = self._services.clock.monotonic() + LOOK_AGAIN
        found = stamp(self._file)
        if found == self._stamp:
            return
        log = self._services.log
        try:
            self._classifier = await self._services.in_thread(_classifier_in, self._file)
        except DamagedFile as error:
            self._classifier = SILENT
            log.error("spam_classifier_silent", reason=str(error))
        else:
            log.info("spam_classifier_loaded", tokens=len(self._classifier))
        self._stamp = found

    def _verdict(self, message: Message, score: Score) -> Verdict:
        options = self._options
        tagged = _reaches(score.points, options.tag)
        refused = _reaches(score.points, options.reject)
        aside = _reaches(score.points, options.quarantine)
        result = "spam" if refused or aside else "tagged" if tagged else "ham"
        finding = Finding(result, score.text, round(score.points, 2), score.details)
        if refused:
            return Reject(REFUSED, finding)
        if aside:
            return Quarantine(f"spam: {score.text}", finding)
        if tagged:
            return Pass(finding, (*_removals(message), *score.fields()))
        if options.always_add_header:
            return Pass(finding, (*_removals(message), score.field()))
        return Pass(finding)


def _reaches(points: float, threshold: Threshold) -> bool:
    return not isinstance(threshold, str) and points >= threshold


def _removals(message: Message) -> list[Edit]:
    """Takes away what somebody else says in our words."""
    return [RemoveHeader(name) for name in OWN_FIELDS if message.all(name)]


def _classifier_in(file: Path) -> Classifier:
    learned = read(file)
    return classifier(learned.entries(), learned.spam_messages, learned.ham_messages)
