"""How a message that came by milter goes back: the mail server has it, and edits it."""

from collections.abc import Iterable

import structlog

from filterrelay.chain.run import Judgement
from filterrelay.doors.milter.changes import Told, changes
from filterrelay.mail.printable import printable
from filterrelay.mail.reply import TRY_LATER, Reply
from filterrelay.mail.verdict import Quarantine
from filterrelay.wire import milter
from filterrelay.wire.milter import Edits, Unsendable

log = structlog.get_logger(__name__)

Answer = tuple[bytes, Iterable[bytes]]  # the packets of a new body apart: CONTINUE follows them


class HandBack:
    """One message on its way back to the mail server.

    holds: what shall be set aside goes to the mail server's quarantine.
    """

    def __init__(self, told: Told, edits: Edits, *, holds: bool) -> None:
        self.holds = holds
        self._told = told
        self._edits = edits
        self._made: Answer | None = None

    async def pass_on(self, judged: Judgement) -> Reply:
        """Puts the edits together; who can't make all of them shall make none."""
        try:
            head, body = changes(judged, self._told, self._edits)
            if isinstance(judged.verdict, Quarantine):
                reason = printable(judged.verdict.reason, "?") or "quarantined"
                head += self._edits.quarantine(reason.encode())
        except Unsendable as error:
            log.error("milter_cannot_edit", reason=str(error))
            return TRY_LATER
        self._made = head, body
        return Reply(250, "2.0.0", f"OK, passed on as {judged.message.id}")

    def answer(self, reply: Reply) -> Answer:
        """What the mail server is told once the intake has given this reply."""
        if reply.code // 100 != 2:
            return refusal(reply), ()
        if self._made is None:  # it is safe with us, or wanted by nobody
            return milter.DISCARD, ()
        head, body = self._made
        return (head, body) if body else (head + milter.CONTINUE, ())


def refusal(reply: Reply) -> bytes:
    """The reply as the mail server passes it on; what can't be said is a temporary problem."""
    try:
        return milter.reply(reply.encode())
    except Unsendable as error:
        log.error("milter_cannot_say", reply=str(reply), reason=str(error))
        return milter.TEMPFAIL
