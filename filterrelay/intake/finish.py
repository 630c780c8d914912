"""A message as it leaves: completed, with its trace fields, and signed last of all."""

from collections.abc import Callable
from dataclasses import dataclass

from filterrelay.chain.chain import Chain
from filterrelay.chain.run import Judgement
from filterrelay.intake.conversion import in_seven_bits
from filterrelay.intake.relaying import IntakeRules
from filterrelay.intake.submission import completed
from filterrelay.intake.trace import authentication_results, received, without_forged_results
from filterrelay.mail.edits import Edit, edit_message
from filterrelay.mail.envelope import Envelope
from filterrelay.mail.message import Message
from filterrelay.mail.session import Session
from filterrelay.observe.clock import Clock

LacksEightBit = Callable[[Session, Envelope], bool]


@dataclass(frozen=True, slots=True)
class Finish:
    """What every message that passes is given.

    lacks_eight_bit: whether a next hop of that mail is known to take 7 bits only.
    """

    rules: IntakeRules
    chain: Chain
    clock: Clock
    lacks_eight_bit: LacksEightBit | None

    async def __call__(
        self, session: Session, judged: Judgement, *, by_milter: bool = False
    ) -> Judgement:
        """The judgement with the message as it leaves. Raises NotAnswered.

        by_milter: the mail server has the message, makes the edits and passes it on.
        """
        if by_milter and not judged.message.raw:
            return judged  # nothing of it was told, since nobody reads it
        now, hostname = self.clock.now(), self.rules.hostname
        message, rules = judged.message, self.rules.listeners.get(session.listener)
        edits: list[Edit] = list(without_forged_results(hostname, message))
        if session.may_relay:
            edits.extend(completed(message, hostname, now))
        edits.extend(authentication_results(hostname, judged.findings.values()))
        if not by_milter:  # the mail server writes its own
            shown = rules is not None and rules.listener.client_in_received
            # A mail server in front has said already who its client was.
            client = session.door != "proxy" and (not session.may_relay or shown)
            edits.append(
                received(session, judged.envelope, hostname, message.id, now, client=client)
            )
        message = edit_message(message, edits)
        if not by_milter and self._needs_conversion(session, judged.envelope, message):
            message = await in_seven_bits(message)  # now, so that it is signed only once
        message, signed, records = await self.chain.sign(session, judged.envelope, message)
        made = (*judged.edits, *edits, *signed)
        steps = (*judged.steps, *records)
        return Judgement(
            judged.verdict, judged.by, judged.envelope, message, judged.findings, made, steps
        )

    def _needs_conversion(self, session: Session, envelope: Envelope, message: Message) -> bool:
        if self.lacks_eight_bit is None or message.raw.isascii():
            return False
        return self.lacks_eight_bit(session, envelope)
