"""The way on for what one listener doesn't keep: passages to its next hop, and their records."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import structlog

from filterrelay.delivery.attempt import result_of
from filterrelay.delivery.passage import Introduction, Passage
from filterrelay.delivery.record import Judged, Record, Recorder
from filterrelay.delivery.upstream import Upstream
from filterrelay.errors import FilterRelayError
from filterrelay.mail.envelope import Envelope
from filterrelay.mail.hop import Hop
from filterrelay.mail.reply import Reply
from filterrelay.mail.session import Session
from filterrelay.observe.clock import Clock
from filterrelay.observe.metrics import Metrics
from filterrelay.settings import Upstream as UpstreamSettings
from filterrelay.spool.store import Spool, StoredMessage, StoredRecipient

_log: Any = structlog.get_logger("filterrelay.delivery")


@dataclass(frozen=True, slots=True)
class Passages:
    """Makes passages to one next hop.

    hostname: our name for EHLO. spool: where the traces are. background: owns a coroutine
    that nobody waits for.
    """

    config: UpstreamSettings
    upstream: Upstream
    hostname: str
    spool: Spool
    clock: Clock
    metrics: Metrics
    recorder: Recorder
    background: Callable[[Coroutine[Any, Any, None]], None]

    def open(self, client: Session, *, local: bool) -> Passage:
        """The way for one message of this client. local: that is the machine in front of us."""
        config = self.config
        about = Introduction(
            client,
            local,
            self.hostname,
            xforward=config.xforward,
            xclient=config.xclient,
            ignored=config.ignore_extensions,
        )
        return Passage(self.upstream, config.name, about)

    def refused(
        self, hook: str, client: Session, reply: Reply, sender: str, recipient: str = ""
    ) -> None:
        """Counts and logs that the next hop takes a sender or a recipient not."""
        self.metrics.refusals.labels(client.listener, hook, "next-hop").inc()
        _log.info(
            "refused",
            hook=hook,
            upstream=self.config.name,
            reply=str(reply),
            session=client.id,
            client=client.client_ip,
            client_name=client.client_name,
            helo=client.helo,
            protocol=client.protocol,
            login=client.login,
            listener=client.listener,
            sender=sender,
            recipient=recipient,
        )

    async def pass_on(
        self, passage: Passage, session: Session, id_: str, envelope: Envelope, body: bytes
    ) -> Reply:
        """The next hop's word on a message, told to the trace, the log and the observers."""
        began, hop = self.clock.now(), Hop(self.config.name)
        sent = await passage.finish(envelope, body)
        reply, host = sent.replies[0], sent.host if sent.answered else ""
        stored = tuple(
            StoredRecipient(index, recipient, attempts=1, last_reply=str(reply), upstream=str(hop))
            for index, recipient in enumerate(envelope.recipients)
        )
        message = StoredMessage(id_, began, envelope, session.facts(), len(body), stored)
        result = result_of(reply)
        judged = [Judged(each, result, reply, host, None) for each in stored]
        seconds = sent.contact.waited + sent.contact.took
        record = Record(message, hop, sent, judged, self.clock.now(), seconds, "")
        self.background(self._tell(record))
        return reply

    async def _tell(self, record: Record) -> None:
        """Done after the message itself was told of, which readers of the mail log need first."""
        try:
            self.recorder.note(record)
        except Exception:  # noqa: BLE001  # a seam: the trace doesn't need it
            _log.exception("attempt_not_told", message_id=record.message.id)
        try:
            await self.spool.record([record.event()])
        except FilterRelayError as error:
            _log.warning("trace_not_kept", message_id=record.message.id, reason=str(error))
