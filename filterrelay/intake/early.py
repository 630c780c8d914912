"""What plugins said before there was a message, kept until there is one."""

from collections import OrderedDict
from dataclasses import dataclass, field

from filterrelay.mail.outcome import StepRecord
from filterrelay.mail.verdict import Discard, Quarantine

MOST = 10_000  # sessions remembered; beyond, the oldest are forgotten


@dataclass(slots=True)
class Earlier:
    """One session's part: each step's record, and the verdict that the message will get."""

    of_session: list[StepRecord] = field(default_factory=list)
    of_transaction: list[StepRecord] = field(default_factory=list)
    session_verdict: tuple[Quarantine | Discard, str] | None = None
    verdict: tuple[Quarantine | Discard, str] | None = None

    def records(self) -> tuple[StepRecord, ...]:
        """All that belongs to the present transaction."""
        return (*self.of_session, *self.of_transaction)

    def decided(self) -> tuple[Quarantine | Discard, str] | None:
        """The verdict that stands already, and who gave it."""
        return self.session_verdict or self.verdict


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
        verdict: tuple[Quarantine | Discard, str] | None,
    ) -> None:
        """Adds one hook's records; on_sender begins a new transaction."""
        earlier = self._sessions.setdefault(session_id, Earlier())
        self._sessions.move_to_end(session_id)
        if len(self._sessions) > MOST:
            self._sessions.popitem(last=False)
        if hook in ("on_connect", "on_helo"):
            earlier.of_session.extend(records)
            earlier.session_verdict = earlier.session_verdict or verdict
            return
        if hook == "on_sender":
            earlier.of_transaction.clear()
            earlier.verdict = None
        earlier.of_transaction.extend(records)
        earlier.verdict = earlier.verdict or verdict

    def forget(self, session_id: str) -> None:
        """The session has ended."""
        self._sessions.pop(session_id, None)
