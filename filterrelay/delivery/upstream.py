"""A next hop: its hosts, its connections, and one transaction after another through them."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from filterrelay import settings
from filterrelay.delivery.capabilities import Capabilities, mail_command, rcpt_command, refusal
from filterrelay.delivery.channel import ConversationLost
from filterrelay.delivery.connect import Dialing, HostUnavailable
from filterrelay.delivery.contact import NONE, Contact, Stage
from filterrelay.delivery.conversation import Conversation, Peer
from filterrelay.delivery.failover import Hosts, Unreachable
from filterrelay.delivery.pool import Pool
from filterrelay.delivery.rate import RateLimit
from filterrelay.errors import FilterRelayError
from filterrelay.mail.endpoint import Endpoint
from filterrelay.mail.envelope import Envelope, Recipient
from filterrelay.mail.reply import Reply
from filterrelay.observe.metrics import Metrics
from filterrelay.settings.rate import parse_rate


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of one transaction.

    replies: the last word on each recipient, in the order asked. answered:
    whether they are the far side's words. dsn: whether it took over the task of
    reporting success (RFC 3461 section 6.2.7). final: whether what it took is delivered
    with that, and not passed on. contact: how it was met.
    """

    replies: Sequence[Reply]
    host: str
    tls: str = "none"
    answered: bool = True
    dsn: bool = False
    final: bool = False
    contact: Contact = NONE


@dataclass(frozen=True, slots=True)
class Outage:
    """A time in which no host of a next hop is tried, because all have failed.

    age: seconds since the last failure. left: seconds until one is tried again;
    0 when waiting for it would be in vain.
    """

    reply: Reply
    host: str
    answered: bool
    age: float
    left: float

    def sent(self, recipients: int) -> Sent:
        """What an attempt for so many recipients comes to now."""
        return Sent([self.reply] * recipients, self.host, answered=self.answered)


@dataclass
class SevenBitsOnly(FilterRelayError):
    """The next hop takes no content of 8 bits; nothing was sent to it."""

    host: str


class UpstreamLike(Protocol):
    """What the scheduler asks of a next hop."""

    @property
    def connections(self) -> int:
        """How many transactions it takes at once."""
        ...

    def outage(self) -> Outage | None:
        """Why no host is tried now; None when one is."""
        ...

    async def send(self, envelope: Envelope, recipients: Sequence[Recipient], body: bytes) -> Sent:
        """One transaction. Network trouble is a temporary reply, never an exception.

        Raises SevenBitsOnly for what the envelope calls 8BITMIME.
        """
        ...

    def close(self) -> None:
        """Says goodbye; nothing more will be sent."""
        ...


class Upstream:
    """A next hop over SMTP.

    config: its limits and its name for the metrics. hosts: in groups of equal preference,
    best first. dialing: how they are spoken to; several next hops may share it. processes:
    how many share the rate, a part for each. offered: what the host that was spoken to
    last can do, None before.
    """

    def __init__(
        self,
        config: settings.Upstream,
        hosts: Sequence[Sequence[Endpoint]],
        dialing: Dialing,
        metrics: Metrics,
        processes: int = 1,
    ) -> None:
        self.connections = config.connections
        self._is_final = config.protocol == "lmtp"
        self.offered: Capabilities | None = None
        self._rate = RateLimit(parse_rate(config.rate) / processes) if config.rate else None
        self._host_count = sum(map(len, hosts))
        self._hosts = Hosts(config.name, hosts, dialing)
        self._pool = Pool(
            config.connections,
            self._hosts.open,
            lambda kept: self._hosts.better_than(kept.peer.rank),
            lambda state: metrics.pool.labels(config.name, state),
        )

    def outage(self) -> Outage | None:
        """Why no host is tried now; None when one is."""
        down = self._hosts.outage()
        if down is None:
            return None
        unavailable, age, left = down
        return Outage(unavailable.reply, unavailable.host, unavailable.answered, age, left)

    def close(self) -> None:
        """Says goodbye on idle connections; busy ones are closed after their transaction."""
        self._pool.close()

    async def send(self, envelope: Envelope, recipients: Sequence[Recipient], body: bytes) -> Sent:
        """One transaction, over a kept connection or a new one, with failover before the dot.

        A kept connection that turns out to be closed is no failure: the
        transaction is repeated at once on a fresh one. Raises SevenBitsOnly.
        """
        if self._rate is not None:
            await self._rate.wait()
        fresh = False
        hosts_left = self._host_count
        watch = _Watch()
        while True:
            try:
                conversation = await self._pool.acquire(fresh=fresh)
            except Unreachable as unreachable:
                contact = watch.seen(None, unreachable.last.stage)
                return replace(_unavailable(unreachable.last, len(recipients)), contact=contact)
            watch.connected(conversation)
            try:
                sent = await self._transaction(conversation, envelope, recipients, body)
                failed = conversation.refused if sent.answered else Stage.OFFER
                return replace(sent, contact=watch.seen(conversation, failed))
            except ConversationLost as lost:
                reused = conversation.transactions > 1
                if not reused:
                    hosts_left -= 1
                    if not lost.heard:
                        self._hosts.failed(conversation.peer.rank, _no_service(conversation, lost))
                if lost.after_dot or (lost.heard and not reused) or not hosts_left:
                    contact = watch.seen(conversation, lost.stage)
                    sent = _lost(conversation.peer, lost, len(recipients))
                    return replace(sent, contact=contact)
                fresh = True
            finally:
                self._pool.release(conversation)

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
        return Sent(replies, peer.host, peer.tls, dsn=offered.dsn, final=self._is_final)


class _Watch:
    """The times of one attempt."""

    def __init__(self) -> None:
        self._time = asyncio.get_running_loop().time
        self._began = self._connected = self._time()
        self._kept = False

    def connected(self, conversation: Conversation) -> None:
        """The transaction can begin."""
        self._connected = self._time()
        self._kept = conversation.transactions > 0

    def seen(self, conversation: Conversation | None, failed: Stage | None) -> Contact:
        """How it was in the end; None where there was no conversation."""
        now = self._time()
        if conversation is None:
            return Contact(waited=now - self._began, failed=failed)
        return Contact(
            conversation.address,
            conversation.cipher,
            conversation.peer.verified,
            self._kept,
            self._connected - self._began,
            now - self._connected,
            failed,
        )


def _unavailable(unavailable: HostUnavailable, recipients: int) -> Sent:
    replies = [unavailable.reply] * recipients
    return Sent(replies, unavailable.host, answered=unavailable.answered)


def _lost(peer: Peer, lost: ConversationLost, recipients: int) -> Sent:
    """A deferral; after the final dot nobody knows, and once too often beats never."""
    answered = lost.reply is not None
    return Sent([lost.deferral(peer.host)] * recipients, peer.host, peer.tls, answered=answered)


def _no_service(conversation: Conversation, lost: ConversationLost) -> HostUnavailable:
    host = conversation.peer.host
    reply = lost.reply or Reply(451, "4.4.2", f"{host}: {lost.reason}")
    return HostUnavailable(host, Stage.GREETING, reply, answered=lost.reply is not None)


class Nowhere:
    """The next hop of mail that is answered without an attempt."""

    connections = 1

    def outage(self) -> Outage | None:
        """Never one."""
        return None

    async def send(self, envelope: Envelope, recipients: Sequence[Recipient], body: bytes) -> Sent:
        """Never called: what is here has its answer."""
        raise AssertionError("there is no way to nowhere")

    def close(self) -> None:
        """Has nothing to close."""
