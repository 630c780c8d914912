"""A next hop: its hosts, its connections, and one transaction after another through them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from filterrelay import settings
from filterrelay.delivery.capabilities import mail_command, rcpt_command, refusal
from filterrelay.delivery.connect import Dialing, HostUnavailable, Stage
from filterrelay.delivery.conversation import Conversation, ConversationLost, Peer
from filterrelay.delivery.failover import Hosts, Unreachable
from filterrelay.delivery.pool import Pool
from filterrelay.delivery.rate import RateLimit
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
    reporting success (RFC 3461 section 6.2.7). unreached: no host could be had at all.
    attempted: False when nothing was tried, because the outcome was known.
    """

    replies: Sequence[Reply]
    host: str
    tls: str = "none"
    answered: bool = True
    dsn: bool = False
    unreached: bool = False
    attempted: bool = True


@dataclass(frozen=True, slots=True)
class Outage:
    """A time in which no host of a next hop is tried, because all have failed.

    age: seconds since the last failure, infinite when nothing has failed. left: seconds
    until one is tried again; 0 when waiting for it would be in vain.
    """

    reply: Reply
    host: str
    answered: bool
    age: float
    left: float

    def sent(self, recipients: int) -> Sent:
        """What an attempt for so many recipients comes to now."""
        return Sent(
            [self.reply] * recipients,
            self.host,
            answered=self.answered,
            unreached=not math.isinf(self.age),
            attempted=False,
        )


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
        """One transaction. Network trouble is a temporary reply, never an exception."""
        ...

    async def probe(self) -> bool:
        """Whether a host can be reached. Network trouble is no exception."""
        ...

    def close(self) -> None:
        """Says goodbye; nothing more will be sent."""
        ...


class Upstream:
    """A next hop over SMTP.

    config: its limits and its name for the metrics. dialing: how its hosts are spoken to;
    several next hops may share it. processes: how many share the rate, a part for each.
    """

    def __init__(
        self,
        config: settings.Upstream,
        hosts: Sequence[Endpoint],
        dialing: Dialing,
        metrics: Metrics,
        processes: int = 1,
    ) -> None:
        self.connections = config.connections
        self._rate = RateLimit(parse_rate(config.rate) / processes) if config.rate else None
        self._host_count = len(hosts)
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
        transaction is repeated at once on a fresh one.
        """
        if self._rate is not None:
            await self._rate.wait()
        fresh = False
        hosts_left = self._host_count
        while True:
            try:
                conversation = await self._pool.acquire(fresh=fresh)
            except Unreachable as unreachable:
                return _unavailable(unreachable.last, len(recipients))
            try:
                return await self._transaction(conversation, envelope, recipients, body)
            except ConversationLost as lost:
                reused = conversation.transactions > 1
                if not reused:
                    hosts_left -= 1
                    if not lost.heard:
                        self._hosts.failed(conversation.peer.rank, _no_service(conversation, lost))
                if lost.after_dot or (lost.heard and not reused) or not hosts_left:
                    return _lost(conversation.peer, lost, len(recipients))
                fresh = True
            finally:
                self._pool.release(conversation)

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
        offered = peer.capabilities
        refused = refusal(offered, envelope, recipients, body, verified=peer.verified)
        if refused is not None:
            return Sent([refused] * len(recipients), peer.host, peer.tls, answered=False)
        replies = await conversation.transaction(
            mail_command(offered, envelope, len(body)),
            [rcpt_command(offered, recipient) for recipient in recipients],
            body,
        )
        return Sent(replies, peer.host, peer.tls, dsn=offered.dsn)


def _unavailable(unavailable: HostUnavailable, recipients: int) -> Sent:
    replies = [unavailable.reply] * recipients
    return Sent(replies, unavailable.host, answered=unavailable.answered, unreached=True)


def _lost(peer: Peer, lost: ConversationLost, recipients: int) -> Sent:
    """A deferral; after the final dot nobody knows, and once too often beats never."""
    if lost.reply is not None:
        return Sent([lost.reply] * recipients, peer.host, peer.tls)
    when = " after the end of the message" if lost.after_dot else ""
    reply = Reply(451, lost.status, f"{peer.host}: {lost.reason}{when}")
    return Sent([reply] * recipients, peer.host, peer.tls, answered=False)


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

    async def probe(self) -> bool:
        """Always there."""
        return True

    def close(self) -> None:
        """Has nothing to close."""
