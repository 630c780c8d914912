"""What plugins said before there was a message, kept until there is one."""

from collections import OrderedDict
from dataclasses import dataclass, field

from filterrelay.mail.finding import Finding
from filterrelay.mail.outcome import StepRecord
from filterrelay.mail.verdict import Discard, Quarantine

MOST = 10_000  # sessions remembered; beyond, the oldest are forgotten

Decision = tuple[Quarantine | Discard, str]  # and the plugin that gave it


@dataclass(slots=True)
class Part:
    """What was said at one stage: each step's record, findings by instance, the verdict."""

    records: list[StepRecord] = field(default_factory=list)
    findings: dict[str, Finding] = field(default_factory=dict)
    verdict: Decision | None = None

    def add(self, records: tuple[StepRecord, ...], verdict: Decision | None) -> None:
        """Takes in one hook's answers; the first verdict stands."""
        self.records.extend(records)
        self.verdict = self.verdict or verdict
        for record in records:
            if record.finding is not None and not record.shadow:
                self.findings[record.plugin] = record.finding


@dataclass(slots=True)
class Earlier:
    """One session's part, by what it is about: the client, its HELO name, the transaction."""

    connect: Part = field(default_factory=Part)
    helo: Part = field(default_factory=Part)
    transaction: Part = field(default_factory=Part)

    def records(self) -> tuple[StepRecord, ...]:
        """All that belongs to the present transaction."""
        return (*self.connect.records, *self.helo.records, *self.transaction.records)

    def findings(self) -> dict[str, Finding]:
        """By instance; of several by one plugin the latest."""
        return self.connect.findings | self.helo.findings | self.transaction.findings

    def decided(self) -> Decision | None:
        """The verdict that stands already, and who gave it."""
        return self.connect.verdict or self.helo.verdict or self.transaction.verdict


NOTHING_SAID = Earlier()  # of a session that no plugin judged; nobody adds to it


class EarlyVerdicts:
    """Every open session's part; only sessions that a plugin judged early take room."""

    def __init__(self) -> None:
        """Starts with none."""
        self._sessions: OrderedDict[str, Earlier] = OrderedDict()

    def of(self, session_id: str) -> Earlier | None:
        """What is known of the session, if anything."""
        return self._sessions.get(session_id)

    def note(
        self,
        session_id: str,
        hook: str,
        records: tuple[StepRecord, ...],
        verdict: Decision | None,
    ) -> None:
        """Adds one hook's answers to what it accepted; a new HELO takes the old one's place."""
        earlier = self._noted(session_id)
        match hook:
            case "on_connect":
                earlier.connect.add(records, verdict)
            case "on_helo":
                earlier.helo = Part()
                earlier.helo.add(records, verdict)
            case _:
                earlier.transaction.add(records, verdict)

    def note_refusal(self, session_id: str, records: tuple[StepRecord, ...]) -> None:
        """Adds, for the trace, what led to a refused command; the message has no part in it."""
        self._noted(session_id).transaction.records.extend(records)

    def _noted(self, session_id: str) -> Earlier:
        earlier = self._sessions.setdefault(session_id, Earlier())
        self._sessions.move_to_end(session_id)
        if len(self._sessions) > MOST:
            self._sessions.popitem(last=False)
        return earlier

    def end_transaction(self, session_id: str) -> None:
        """What was said of a sender and recipients is over with their message."""
        earlier = self._sessions.get(session_id)
        if earlier is not None:
            earlier.transaction = Part()

    def forget(self, session_id: str) -> None:
        """The session has ended."""
        self._sessions.pop(session_id, None)
