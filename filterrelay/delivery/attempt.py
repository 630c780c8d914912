"""One attempt for one message at one next hop: transactions, and what they mean."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from filterrelay.delivery.tls_session import DESTINATIONS, destinations_of
from filterrelay.delivery.upstream import Interrupted, Sent, SevenBitsOnly, UpstreamLike
from filterrelay.mail.envelope import Envelope
from filterrelay.mail.reply import Reply
from filterrelay.spool.store import StoredRecipient

Result = Literal["delivered", "deferred", "bounced"]

# The far side wants a login or TLS from us: our configuration's fault, so no
# reason to return anybody's mail (RFC 4954 section 6, RFC 3207 section 4).
OUR_FAULT = frozenset({530, 534, 535, 538})


@dataclass(frozen=True, slots=True)
class Tried:
    """One transaction and the recipients it was about, for all of whom it is the last word."""

    recipients: Sequence[StoredRecipient]
    sent: Sent

    @property
    def is_quiet(self) -> bool:
        """Whether all of them are served, and nobody is to be told of it."""
        told = any(stored.recipient.notify for stored in self.recipients)
        return not told and all(result_of(reply) == "delivered" for reply in self.sent.replies)


def result_of(reply: Reply) -> Result:
    """What a reply to a recipient means for it."""
    kind = reply.code // 100
    if kind == 2:
        return "delivered"
    return "bounced" if kind == 5 and reply.code not in OUR_FAULT else "deferred"


async def attempt(
    upstream: UpstreamLike,
    envelope: Envelope,
    recipients: Sequence[StoredRecipient],
    body: bytes,
    convert: Callable[[], Awaitable[bytes | Reply]],
) -> AsyncIterator[Tried]:
    """Tries all recipients once, in as many transactions as the limits make necessary.

    Each one's result comes when it is known, so that it counts whatever becomes of the next.
    convert: makes the body one of 7 bits, for a far side that takes no other, or says why
    that can't be done now.
    A recipient refused as one too many beside one accepted goes into the next
    transaction at once; some servers say 552 for 452 (RFC 5321 section 4.5.3.1.10).
    """
    DESTINATIONS.set(destinations_of([stored.recipient.address for stored in recipients]))
    if envelope.body == "7BIT" and not body.isascii():
        envelope = replace(envelope, body="8BITMIME")  # whatever the client said
    waiting = recipients
    while waiting:
        batch, rest = waiting[: upstream.recipients], waiting[upstream.recipients :]
        try:
            sent = await upstream.send(envelope, [stored.recipient for stored in batch], body)
        except SevenBitsOnly:
            converted = await convert()
            if isinstance(converted, Reply):
                yield Tried(waiting, Sent([converted] * len(waiting), "", answered=False))
                return
            envelope, body = replace(envelope, body="7BIT"), converted
            continue
        except Interrupted as cut:
            yield Tried([batch[place] for place in cut.places], cut.sent)
            raise
        surplus = _surplus(batch, sent.replies)
        if not surplus:
            yield Tried(batch, sent)
            waiting = rest
            continue
        asked = [
            (stored, reply)
            for stored, reply in zip(batch, sent.replies, strict=True)
            if stored.index not in surplus
        ]
        settled = replace(sent, replies=[reply for _, reply in asked])
        yield Tried([stored for stored, _ in asked], settled)
        waiting = [*(s for s in batch if s.index in surplus), *rest]


def _surplus(batch: Sequence[StoredRecipient], replies: Sequence[Reply]) -> frozenset[int]:
    """The indexes of recipients that were only one too many for this transaction."""
    if not any(_is_surplus(reply) for reply in replies):
        return frozenset()
    if all(result_of(reply) != "delivered" for reply in replies):
        return frozenset()
    return frozenset(
        stored.index for stored, reply in zip(batch, replies, strict=True) if _is_surplus(reply)
    )


def _is_surplus(reply: Reply) -> bool:
    return reply.code in (452, 552) and reply.enhanced in ("4.5.3", "5.5.3", "")
