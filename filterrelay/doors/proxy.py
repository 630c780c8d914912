"""The proxy door's session: SMTP, answered step by step as the next hop answers.

Postfix stands in front (`smtpd_proxy_filter`, `content_filter`) and behind.
"""

from collections.abc import Mapping
from dataclasses import replace

from filterrelay.chain.run import Judgement
from filterrelay.delivery.passage import Passage, Step
from filterrelay.delivery.passages import Passages
from filterrelay.doors import replies
from filterrelay.doors.policy import Reception
from filterrelay.doors.smtp import SmtpSession
from filterrelay.intake.transaction import Onward
from filterrelay.mail.envelope import Envelope, Recipient
from filterrelay.mail.identifier import new_id
from filterrelay.mail.reply import TRY_LATER, Reply
from filterrelay.mail.session import Session

_RECIPIENT = b"RCPT "


class ProxySession(SmtpSession):
    """SMTP as a mail server's filter speaks it: nothing is accepted before the next hop has.

    A client is judged at its message's MAIL: the mail server tells of it just before, if at
    all. RCPT commands that came together are passed on together, so the replies to some
    are owed until the last of them is read. Mail that it says nothing of is nobody's: it
    might be anybody's, so it isn't signed as our own.
    """

    holds = False

    def __init__(self, reception: Reception, client: Session, passages: Passages) -> None:
        super().__init__(reception, replace(client, trusted=False))
        self._passages = passages
        self._passage: Passage | None = None
        self._owed: list[tuple[int, Step]] = []  # where in the queue of replies, and to what
        self._judged: Session | None = None  # whom there is nothing against
        self._local = False  # the message is of the mail server's own machine

    async def _judge_client(self) -> None:
        """Waits for MAIL."""

    async def _judge_helo(self, introduced: Session) -> Reply | None:
        """Waits for MAIL."""
        return None

    def _forwarding(self, said: Mapping[str, str]) -> Session:
        """The message's client: all that is known of it. An unknown address is local mail's."""
        address = said.get("ADDR", "")
        self._local = said.get("SOURCE") == "LOCAL"
        return Session(
            id=new_id(self.reception.clock.now()),
            listener=self.client.listener,
            door=self.client.door,
            client_ip=address,
            client_port=int(said.get("PORT") or 0),
            client_name=said.get("NAME", ""),
            queue_id=said.get("IDENT", ""),
            helo=said.get("HELO", ""),
            esmtp=said.get("PROTO", "") != "SMTP",
            trusted=bool(address or self._local) and self.policy.trusts(address),
        )

    async def _judge_sender(self, envelope: Envelope) -> Reply | None:
        """What is against the client, its name or the sender."""
        intake, origin = self.reception.intake, self.origin
        if origin != self._judged:
            intake.on_close(origin)  # what was said of it as it was before is over
            refused = await self._ask(intake.on_connect(origin))
            if refused is None and origin.helo:
                refused = await self._ask(intake.on_helo(origin))
            if refused is not None:
                return refused
            self._judged = origin
        return await super()._judge_sender(envelope)

    def _take_sender(self, envelope: Envelope) -> None:
        """Has the next hop asked."""
        self._passage = self._passages.open(self.origin, local=self._local)
        self._owe(envelope)

    def _take_recipient(self, recipient: Recipient) -> None:
        """Has the next hop asked."""
        self._owe(recipient)

    def _owe(self, step: Step) -> None:
        assert self._passage is not None  # a transaction has one
        self._passage.ask(step)
        self._owed.append((len(self._replies), step))
        self._replies.append(b"")

    async def read_line(self) -> bytes:
        """The next line; before any but a further recipient's, what is owed is said."""
        if self._owed and not self._has_recipient():
            await self._settle()
            self.allow(self._patience)
        return await super().read_line()

    def _has_recipient(self) -> bool:
        """Whether a whole RCPT command has come."""
        beginning = self._buffer[: len(_RECIPIENT)].upper()
        longest = self.command_size_limits["RCPT"]
        return beginning == _RECIPIENT and self._buffer.find(b"\r\n", 0, longest) >= 0

    async def _settle(self) -> None:
        """Fills in the replies that are owed, with the next hop's words."""
        passage, owed = self._passage, self._owed
        assert passage is not None  # it is what owes them
        self._owed = []
        self.allow(None)
        try:
            answers = await passage.answers()
        except Exception:  # the seam: our fault is never the client's, nor told to it
            self.log.exception("passage_failed")
            answers = [TRY_LATER] * len(owed)
        for (place, step), reply in zip(owed, answers, strict=True):
            self._replies[place] = reply.encode()
            if reply.code // 100 != 2:
                self._refused(step, reply)
        if self.mail is None:
            self._let_go()

    def _refused(self, step: Step, reply: Reply) -> None:
        """The next hop doesn't take that."""
        self._group_refused = True
        mail = self.mail
        sender = mail.return_path if mail is not None else ""
        if isinstance(step, Envelope):
            self.mail = None
            self._passages.refused("on_sender", self.origin, reply, step.return_path)
        else:
            self._passages.refused("on_recipient", self.origin, reply, sender, str(step))
            if mail is not None:
                left = tuple(each for each in mail.recipients if each is not step)
                self.mail = mail.to(left)

    def end_transaction(self) -> None:
        """Forgets the envelope, here and at the next hop."""
        super().end_transaction()
        self._owed = []
        self._local = False
        self._let_go()

    def _let_go(self) -> None:
        if self._passage is not None:
            self._passage.abandon()
            self._passage = None

    def _onward(self) -> Onward:
        return self

    async def pass_on(self, judged: Judgement) -> Reply:
        """Hands the message over, unless its client has gone and will come again."""
        assert self._passage is not None  # the message belongs to a transaction
        if self._lost or (self._at_eof and not self._buffer):
            return replies.GONE
        return await self._passages.pass_on(
            self._passage, self.origin, judged.message.id, judged.envelope, judged.message.raw
        )
