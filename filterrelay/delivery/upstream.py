"""A next hop: its hosts, its connections, and one transaction after another through them."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import structlog

from filterrelay import settings
from filterrelay.delivery.capabilities import (
    NO_REQUIRETLS,
    Capabilities,
    mail_command,
    rcpt_command,
    refusal,
)
from filterrelay.delivery.channel import ConversationLost
from filterrelay.delivery.connect import Dialing, HostUnavailable
from filterrelay.delivery.contact import NONE, Contact, Stage
from filterrelay.delivery.conversation import Conversation, CutOff, Peer
from filterrelay.delivery.failover import Hosts, Unreachable
from filterrelay.delivery.pool import Pool, Suits, Wear
from filterrelay.delivery.rate import PATIENCE, Rates, transactions
from filterrelay.delivery.slots import Slots
from filterrelay.delivery.watch import Watch
from filterrelay.delivery.window import Rest, Window, are_throttling
from filterrelay.errors import FilterRelayError
from filterrelay.mail.endpoint import Endpoint
from filterrelay.mail.envelope import Envelope, Recipient
from filterrelay.mail.reply import Reply
from filterrelay.observe.metrics import Metrics

_AT_THE_RATE = Reply(
    451, "4.4.5", "Held back by a rate limit of this relay for mail that goes there"
)

_log: Any = structlog.get_logger("filterrelay.delivery")


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of one transaction.

    replies: the last word on each recipient, in the order asked. answered:
    whether they are the far side's words. dsn: whether it took over the task of
    reporting success (RFC 3461 section 6.2.7). final: whether what it took is delivered
    with that, and not passed on. contact: how it was met. unreached: no host could be had
    at all, or all mail is to wait. attempted: False when nothing was tried, because the
    outcome was known.
    """

    replies: Sequence[Reply]
    host: str
    tls: str = "none"
    answered: bool = True
    dsn: bool = False
    final: bool = False
    contact: Contact = NONE
    unreached: bool = False
    attempted: bool = True


@dataclass(frozen=True, slots=True)
class Outage:
    """A time in which nothing is tried.

    why: all hosts have failed (down), they have asked for patience (rest), or the limits of
    our own are reached (rate). left: seconds until there is another try.
    """

    reply: Reply
    host: str
    answered: bool
    why: Literal["down", "rest", "rate"]
    left: float

    def sent(self, recipients: int) -> Sent:
        """What an attempt for so many recipients comes to now."""
        return Sent(
            [self.reply] * recipients,
            self.host,
            answered=self.answered,
            unreached=self.why != "rate",
            attempted=False,
        )


@dataclass
class SevenBitsOnly(FilterRelayError):
    """The next hop takes no content of 8 bits; nothing was sent to it."""

    host: str


class Interrupted(asyncio.CancelledError):
    """A transaction was cancelled when some recipients had their last word already.

    places: theirs, in the order asked. sent: what became of it for them.
    """

    def __init__(self, places: Sequence[int], sent: Sent) -> None:
        super().__init__()
        self.places = places
        self.sent = sent


class UpstreamLike(Protocol):
    """What the scheduler asks of a next hop."""

    @property
    def connections(self) -> int:
        """How many transactions it takes at once."""
        ...

    @property
    def recipients(self) -> int:
        """How many recipients a transaction may have."""
        ...

    def outage(self) -> Outage | None:
        """Why nothing is tried now, but for a rate; None when it is."""
        ...

    def room(self) -> int | None:
        """How many messages the rates let go within the next seconds; None when any number."""
        ...

    async def admit(self, recipients: int) -> Outage | None:
        """Waits until a message to so many recipients may be sent; then `leave` must follow.

        An outage when that isn't soon: nothing is to be sent, nor left, then.
        """
        ...

    def leave(self) -> None:
        """What was admitted has been sent, or won't be."""
        ...

    async def send(self, envelope: Envelope, recipients: Sequence[Recipient], body: bytes) -> Sent:
        """One transaction. Network trouble is a temporary reply, never an exception.

        Raises SevenBitsOnly for what the envelope calls 8BITMIME, Interrupted when cancelled.
        """
        ...

    async def probe(self) -> bool:
        """Whether a host can be reached. Network trouble is no exception."""
        ...

    def close(self) -> None:
        """Says goodbye; nothing more will be sent."""
        ...


class Upstream:
    """A next hop over SMTP.

    config: its limits and its name for the metrics. hosts: in groups of equal preference,
    best first. dialing: how they are spoken to; several next hops may share it, the rates,
    and the slots. offered: what the host that was spoken to last can do, None before.
    """

    def __init__(
        self,
        config: settings.Upstream,
        hosts: Sequence[Sequence[Endpoint]],
        dialing: Dialing,
        metrics: Metrics,
        rates: Rates | None = None,
        slots: Slots | None = None,
    ) -> None:
        self.connections = config.connections
        self.recipients = config.recipients
        self.offered: Capabilities | None = None
        self._is_final = config.protocol == "lmtp"
        self._name = config.name
        self._rates = rates or Rates()
        self._window = Window(config.connections, self._note_rest)
        self._host_count = sum(map(len, hosts))
        self._hosts = Hosts(config.name, hosts, dialing, metrics.hosts_down.labels(config.name))
        self._pool = Pool(
            Wear(
                config.connections,
                config.connection_messages,
                config.connection_age.total_seconds(),
            ),
            self._hosts.open,
            lambda kept: self._hosts.better_than(kept.peer.rank),
            lambda state: metrics.pool.labels(config.name, state),
            slots,
        )

    def outage(self) -> Outage | None:
        """Why nothing is tried now, but for a rate; None when it is."""
        down = self._hosts.outage()
        if down is not None:
            unavailable, left = down
            return Outage(unavailable.reply, unavailable.host, unavailable.answered, "down", left)
        resting = self._window.rest()
        if resting is None:
            return None
        rest, left = resting
        return Outage(rest.reply, rest.host, answered=True, why="rest", left=left)

    def room(self) -> int | None:
        """How many messages the rates let go within the next seconds; None when any number."""
        return self._rates.room(_now())

    async def admit(self, recipients: int) -> Outage | None:
        """Waits for a place among the transactions at once, and for its turn by the rates."""
        while (outage := self.outage()) is None:
            if not await self._window.enter():
                continue
            try:
                outage = self.outage() or await in_turn(self._rates, self.recipients, recipients)
            except BaseException:
                self._window.leave()
                raise
            if outage is not None:
                self._window.leave()
            return outage
        return outage

    def leave(self) -> None:
        """Gives the place back."""
        self._window.leave()

    def close(self) -> None:
        """Says goodbye on idle connections; busy ones are closed after their transaction."""
        self._pool.close()
        self._hosts.close()

    async def send(self, envelope: Envelope, recipients: Sequence[Recipient], body: bytes) -> Sent:
        """One transaction, over a kept connection or a new one, with failover before the dot.

        A kept connection that turns out to be closed is no failure: the
        transaction is repeated at once on a fresh one. What asks for REQUIRETLS goes on to
        the hosts that are fit for it. Raises SevenBitsOnly.
        """
        fresh = kept = False
        hosts_left = self._host_count
        unfit = set[int]()
        watch = Watch()
        while True:
            began = _now()
            try:
                conversation = await self._pool.acquire(fresh=fresh, kept=kept, past=unfit)
            except Unreachable as unreachable:
                last = unreachable.last
                if unreachable.crowded and not (kept or unfit):
                    self._window.halve(began)
                    fresh, kept = False, True
                    continue
                if last.answered and last.stage is Stage.GREETING:
                    self._window.throttled(last.reply, last.host, began)
                contact = watch.seen(None, last.stage)
                return replace(_unavailable(last, len(recipients)), contact=contact)
            watch.connected(conversation)
            try:
                began = _now()
                sent = await self._transaction(conversation, envelope, recipients, body)
                if sent.replies[0] is NO_REQUIRETLS and len(unfit) < self._host_count - 1:
                    unfit.add(conversation.peer.rank)  # RFC 8689 section 4.2.1
                    fresh, kept = True, False
                    continue
                failed = conversation.refused if sent.answered else Stage.OFFER
                return self._noted(sent, began, watch.seen(conversation, failed))
            except CutOff as cut:
                known = {place: reply for place, reply in enumerate(cut.replies) if reply}
                sent = self._sent(conversation.peer, [*known.values()])
                contact = watch.seen(conversation, Stage.END)
                raise Interrupted([*known], replace(sent, contact=contact)) from cut
            except ConversationLost as lost:
                reused = conversation.transactions > 1
                hosts_left -= not reused
                self.note_lost(conversation, lost)
                if lost.after_dot or (lost.heard and not reused) or not hosts_left:
                    sent = _lost(conversation.peer, lost, len(recipients))
                    return self._noted(sent, began, watch.seen(conversation, lost.stage))
                fresh, kept = True, False
            finally:
                self._pool.release(conversation)

    async def acquire(self, *, fresh: bool, suits: Suits) -> Conversation:
        """A connection for who speaks with the next hop step by step; `release` takes it back.

        fresh, suits: as for a pool. Raises Unreachable.
        """
        self._hosts.hurry()
        conversation = await self._pool.acquire(fresh=fresh, suits=suits)
        self.offered = conversation.peer.capabilities
        return conversation

    def release(self, conversation: Conversation) -> None:
        """Takes a connection back."""
        self._pool.release(conversation)

    def note_lost(self, conversation: Conversation, lost: ConversationLost) -> None:
        """A host that took a new connection, but then said nothing more, is left alone."""
        if conversation.transactions <= 1 and not lost.heard:
            self._hosts.failed(conversation.peer.rank, _no_service(conversation, lost))

    async def turn(self) -> Outage | None:
        """Waits for a message's turn by the rates; an outage when that isn't soon."""
        return await in_turn(self._rates, self.recipients, 1)

    def _noted(self, sent: Sent, began: float, contact: Contact) -> Sent:
        """The same with its contact; the window learns from what was answered, if it was."""
        if sent.answered and are_throttling(sent.replies):
            self._window.throttled(sent.replies[0], sent.host, began)
        elif sent.answered:
            self._window.answered(began)
        return replace(sent, contact=contact)

    def _note_rest(self, rest: Rest, seconds: float) -> None:
        _log.warning(
            "hop_rests",
            upstream=self._name,
            host=rest.host,
            reply=str(rest.reply),
            seconds=seconds,
        )

    async def probe(self) -> bool:
        """Whether a host can be reached; the connection is kept for the mail that follows."""
        try:
            self._pool.release(await self._pool.acquire())
        except Unreachable:
            return False
        return True

    async def _transaction(
        self,
        conversation: Conversation,
        envelope: Envelope,
        recipients: Sequence[Recipient],
        body: bytes,
    ) -> Sent:
        peer = conversation.peer
        offered = self.offered = peer.capabilities
        refused = refusal(offered, envelope, recipients, body, verified=peer.verified)
        if refused is not None:
            return Sent([refused] * len(recipients), peer.host, peer.tls, answered=False)
        if envelope.body == "8BITMIME" and not (offered.eight_bit or body.isascii()):
            raise SevenBitsOnly(peer.host)
        replies = await conversation.transaction(
            mail_command(offered, envelope, len(body)),
            [rcpt_command(offered, recipient) for recipient in recipients],
            body,
        )
        return self._sent(peer, replies)

    def _sent(self, peer: Peer, replies: Sequence[Reply]) -> Sent:
        return Sent(replies, peer.host, peer.tls, dsn=peer.capabilities.dsn, final=self._is_final)


def _now() -> float:
    return asyncio.get_running_loop().time()


async def in_turn(rates: Rates, batch: int, recipients: int) -> Outage | None:
    """Takes a place in the rates and waits for its turn; an outage when that isn't soon.

    batch: recipients of one transaction.
    """
    now = _now()
    if (delay := rates.delay(now)) > PATIENCE:
        return Outage(_AT_THE_RATE, "", answered=False, why="rate", left=delay)
    pause = rates.claim(now, transactions(recipients, batch), recipients)
    if pause:
        await asyncio.sleep(pause)
    return None


def _unavailable(unavailable: HostUnavailable, recipients: int) -> Sent:
    replies = [unavailable.reply] * recipients
    return Sent(replies, unavailable.host, answered=unavailable.answered, unreached=True)


def _lost(peer: Peer, lost: ConversationLost, recipients: int) -> Sent:
    """A deferral; after the final dot nobody knows, and once too often beats never."""
    answered = lost.reply is not None
    return Sent([lost.deferral(peer.host)] * recipients, peer.host, peer.tls, answered=answered)


def _no_service(conversation: Conversation, lost: ConversationLost) -> HostUnavailable:
    host = conversation.peer.host
    reply = lost.reply or Reply(451, "4.4.2", f"{host}: {lost.reason}")
    return HostUnavailable(host, Stage.GREETING, reply, answered=lost.reply is not None)
