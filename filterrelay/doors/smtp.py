"""The SMTP door's session: MAIL, RCPT, DATA and BDAT, down to the intake."""

from aiosmtpd.smtp import syntax

from filterrelay.doors import replies
from filterrelay.doors.arrival import Arrival
from filterrelay.doors.connection import HangUp
from filterrelay.doors.esmtp import BadArgument, Offer, parse_chunk, parse_mail, parse_rcpt
from filterrelay.doors.forwarding import Forwarding
from filterrelay.doors.policy import Reception
from filterrelay.intake.transaction import Onward
from filterrelay.mail.envelope import Envelope, Recipient
from filterrelay.mail.reply import RECIPIENT_OK, SENDER_OK, TRY_LATER, Reply
from filterrelay.mail.session import Session
from filterrelay.wire.data import ChunkDecoder, DataDecoder

BLOCK_PATIENCE = 180.0  # seconds for the next block, RFC 5321 section 4.5.3.2.5


class SmtpSession(Forwarding):
    """The whole of SMTP as this door speaks it."""

    def __init__(self, reception: Reception, client: Session) -> None:
        super().__init__(reception, client)
        self._arrival: Arrival | None = None  # the message that comes in; its memory is ours
        self._chunks: ChunkDecoder | None = None  # of this message, which comes by BDAT
        self._messages = 0
        self._group_refused = False  # MAIL or a RCPT: what belongs to it may be on its way

    def end_transaction(self) -> None:
        """Forgets the envelope and what came of the message."""
        super().end_transaction()
        self._group_refused = False
        self._chunks = None
        if self._arrival is not None:
            self._arrival.reservation.release()
            self._arrival = None

    def _offer(self) -> Offer:
        client = self.client
        requiretls = self.policy.offers_requiretls(client)
        return Offer(client.esmtp, requiretls, self.policy.limits.message_size)

    @syntax("MAIL FROM:<address> [parameters]")
    async def smtp_MAIL(self, arg: str | None) -> None:
        """RFC 5321 section 4.1.1.2."""
        if await self.check_helo_needed():
            return
        if self.mail is not None:
            self.refuse(replies.MAIL_ALREADY)
            return
        if self._messages >= self.policy.limits.messages:
            raise HangUp(replies.TOO_MANY_MESSAGES)
        self._group_refused = True
        try:
            envelope = parse_mail(arg or "", self._offer())
        except BadArgument as error:
            self.refuse(error.reply)
            return
        refused = await self._reconfirm(envelope) or await self._judge_sender(envelope)
        if refused is not None:
            self.reply(refused)
            return
        self.mail = envelope
        self._group_refused = False
        self._take_sender(envelope)

    async def _judge_sender(self, envelope: Envelope) -> Reply | None:
        return await self._ask(self.reception.intake.on_sender(self.origin, envelope))

    def _take_sender(self, envelope: Envelope) -> None:
        """Has the client told that we have nothing against the sender."""
        self.reply(SENDER_OK)

    @syntax("RCPT TO:<address> [parameters]")
    async def smtp_RCPT(self, arg: str | None) -> None:
        """RFC 5321 section 4.1.1.3."""
        if await self.check_helo_needed():
            return
        envelope = self.mail
        if envelope is None or self._chunks is not None:
            self._refuse_step(replies.MAIL_FIRST if envelope is None else replies.CHUNKS_BEGUN)
            return
        if len(envelope.recipients) >= self.policy.limits.recipients:
            self.reply(replies.TOO_MANY_RECIPIENTS)
            return
        try:
            recipient = parse_rcpt(arg or "", self._offer(), utf8=envelope.smtputf8)
        except BadArgument as error:
            self._group_refused = True
            self.refuse(error.reply)
            return
        question = self.reception.intake.on_recipient(self.origin, envelope, recipient)
        refused = await self._ask(question)
        if refused is not None:
            self._group_refused = True
            self.reply(refused)
            return
        self.mail = envelope.to((*envelope.recipients, recipient))
        self._take_recipient(recipient)

    def _take_recipient(self, recipient: Recipient) -> None:
        """Has the client told that we have nothing against the recipient."""
        self.reply(RECIPIENT_OK)

    def _refuse_step(self, reply: Reply) -> None:
        """Says no to a step of a transaction; the client's mistake only if none before it failed.

        A client may send MAIL, RCPT and DATA together (RFC 2920 section 3.1).
        """
        (self.reply if self._group_refused else self.refuse)(reply)

    def _why_no_content(self) -> Reply | None:
        """Why no message may come now, or None."""
        if not self.client.helo:
            return replies.HELO_FIRST
        if self.mail is None:
            return replies.MAIL_FIRST
        if not self.mail.recipients:
            return replies.NO_RECIPIENTS if self._group_refused else replies.RCPT_FIRST
        return None

    @syntax("DATA")
    async def smtp_DATA(self, arg: str | None) -> None:
        """RFC 5321 section 4.1.1.4."""
        refused = self._why_no_content() or (replies.NO_ARGUMENT if arg else None)
        if self._chunks is not None:
            refused = replies.CHUNKS_BEGUN
        if refused is not None:
            self._refuse_step(refused)
            return
        try:
            arrival = await self._begin_content()
            refused = self._refusal(arrival)
            if refused is not None:
                self.end_transaction()
                self.reply(refused)
                return
            self.reply(replies.START_INPUT)
            await self._read_content(arrival)
        except BaseException:
            self.end_transaction()
            raise
        await self._hand_over()

    async def _begin_content(self) -> Arrival:
        """A message for this envelope, with room for its beginning if there is any."""
        assert self.mail is not None  # _why_no_content has looked
        self.allow(None)
        self._arrival = Arrival(self.reception, self.mail.size)
        await self._arrival.make_room(1)
        return self._arrival

    async def _read_content(self, arrival: Arrival) -> None:
        """Reads up to the final dot."""
        decoder = DataDecoder(arrival.content)
        self._in_content = True
        ended = False
        while not ended:
            block = await self._next_block(arrival.until)
            arrival.came += len(block)
            ended = decoder.feed(block)
            await arrival.make_room(arrival.content.octets)
        self._in_content = False
        if decoder.rest:
            arrival.came -= len(decoder.rest)
            self.put_back(decoder.rest)

    async def _next_block(self, until: float, most: int | None = None) -> bytearray:
        """The next octets of a message, if its time isn't over. Raises HangUp."""
        left = until - self.loop.time()
        if left <= 0:
            raise HangUp(replies.TIMED_OUT)
        self.allow(min(BLOCK_PATIENCE, left))
        block = await self.read_block(most)
        self.allow(None)
        return block

    async def _hand_over(self) -> None:
        """Gives a complete message to the intake, and its reply to the client.

        Nothing cancels this when the client goes away: a commit under way ends.
        """
        clock = self.reception.clock
        begun = clock.monotonic()
        try:
            reply = await self._outcome()
        finally:
            self._messages += 1
            self._since_message = 0
            self.end_transaction()
        self.reply(reply)
        self.flush()  # who is told that a message is safe need not send it again
        self.reception.counters.accept_seconds.observe(clock.monotonic() - begun)

    async def _outcome(self) -> Reply:
        """What becomes of the message that has come."""
        envelope, arrival = self.mail, self._arrival
        assert envelope is not None  # _why_no_content has looked
        assert arrival is not None  # it has come
        if (refused := self._refusal(arrival)) is not None:
            return refused
        raw, memory = arrival.take(), arrival.reservation
        receiving = self.reception.intake.receive(
            self.origin, envelope, raw, memory, self._onward()
        )
        del raw
        reply = await self._ask(receiving) or TRY_LATER
        if reply is not TRY_LATER:
            self._arrival = None  # its memory is the intake's
        return reply

    def _onward(self) -> Onward | None:
        """How the message is passed on here; None when it is the spool's."""
        return None

    @syntax("BDAT <octets> [LAST]")
    async def smtp_BDAT(self, arg: str | None) -> None:
        """RFC 3030 section 2: the octets follow the command at once, wanted or not."""
        chunk = parse_chunk(arg or "")
        if chunk is None:
            raise HangUp(replies.BAD_CHUNK)
        octets, last = chunk
        if octets > self.policy.limits.message_size:
            refused = self._why_no_content()
            raise HangUp(refused or self._refuse_content(replies.MESSAGE_TOO_LARGE, octets))
        self._in_content = True
        refused = self._why_no_content()
        if refused is not None:
            await self._skip_chunk(octets)
            self._in_content = False
            self._refuse_step(refused)
            return
        arrival = await self._take_chunk(octets, last=last)
        self._in_content = False
        if last:
            await self._hand_over()
        else:
            received = Reply(250, "2.0.0", f"{octets} octets received")
            self.reply(self._refusal(arrival) or received)

    def _refusal(self, arrival: Arrival) -> Reply | None:
        """Why the message can't be taken, said alike to each of its chunks; None if it can."""
        if arrival.told is None and arrival.fault is not None:
            arrival.told = self._refuse_content(arrival.fault, arrival.came)
        return arrival.told

    def _refuse_content(self, reply: Reply, octets: int) -> Reply:
        """Has the refusal counted, logged and traced; returns it with the message's ID."""
        assert self.mail is not None  # _why_no_content has looked
        return self.reception.intake.refuse_content(self.origin, self.mail, reply, octets)

    async def _skip_chunk(self, octets: int) -> None:
        """Reads a chunk that isn't wanted, to stay in step."""
        until = self.loop.time() + self.policy.limits.data_timeout.total_seconds()
        while octets:
            octets -= len(await self._next_block(until, octets))

    async def _take_chunk(self, octets: int, *, last: bool) -> Arrival:
        """Reads a chunk into the message, which the first one begins."""
        if octets:
            self._since_message -= 1  # a part of a message is no command without one
        arrival = self._arrival or await self._begin_content()
        self._chunks = decoder = self._chunks or ChunkDecoder(arrival.content)
        while octets:
            block = await self._next_block(arrival.until, octets)
            octets -= len(block)
            arrival.came += len(block)
            decoder.feed(block)
            await arrival.make_room(arrival.content.octets)
        if last:
            decoder.finish()
        return arrival
