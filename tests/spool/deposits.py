"""Messages to put into a spool, and a clock that stands still."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from filterrelay.mail.address import Address
from filterrelay.mail.envelope import Envelope, Recipient
from filterrelay.spool.store import (
    Deposit,
    Event,
    Lease,
    RecipientState,
    Settlement,
    Spool,
    State,
    StoredMessage,
    StoredRecipient,
)

NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
LATER = NOON + HOUR
BODY = b"Subject: Invoice 17\r\n\r\nPlease find it attached.\r\n"


class StandingClock:
    """Time that moves when a test says so."""

    def __init__(self, now: datetime = NOON) -> None:
        self.time = now
        self.seconds = 0.0

    def now(self) -> datetime:
        """The wall clock's time."""
        return self.time

    def monotonic(self) -> float:
        """Seconds for durations."""
        return self.seconds


def address(text: str) -> Address:
    """The address written so."""
    local, _, domain = text.rpartition("@")
    return Address(local, domain)


def stored(
    id_: str = "M1",
    to: Sequence[str] = ("anna@partner.example",),
    *,
    received: datetime = NOON,
    next_attempt: datetime | None = None,
    lease: Lease | None = None,
) -> StoredMessage:
    """A queued message; without a lease it is due when it was received."""
    recipients = tuple(Recipient(address(text)) for text in to)
    due = next_attempt or (lease.until if lease else received)
    return StoredMessage(
        id=id_,
        received=received,
        envelope=Envelope(address("sales@office.example"), recipients, size=len(BODY)),
        session={"client_ip": "192.0.2.7", "login": "sales"},
        size=len(BODY),
        recipients=tuple(
            StoredRecipient(index, recipient, next_attempt=due)
            for index, recipient in enumerate(recipients)
        ),
        lease=lease,
    )


def deposit(message: StoredMessage, body: bytes = BODY, *, kind: str = "received") -> Deposit:
    """The message with its body and its first event."""
    event = Event(message.id, message.received, kind, {"reply": "250 2.0.0 OK"})
    return Deposit(replace(message, size=len(body)), body, (event,))


def quarantined(id_: str, *, received: datetime = NOON) -> Deposit:
    """A message that a filter set aside."""
    message = replace(
        stored(id_, received=received),
        state=State.QUARANTINED,
        reason="EICAR found",
        by="clamav",
    )
    return deposit(message, kind="quarantined")


def delivered(message: StoredMessage, *indexes: int) -> Settlement:
    """These recipients, or all, were taken by the next hop."""
    return settled(message, RecipientState.DELIVERED, None, indexes)


def deferred(message: StoredMessage, next_attempt: datetime, *indexes: int) -> Settlement:
    """These recipients, or all, are to be tried again."""
    return settled(message, RecipientState.QUEUED, next_attempt, indexes)


def settled(
    message: StoredMessage,
    state: RecipientState,
    next_attempt: datetime | None,
    indexes: Sequence[int],
) -> Settlement:
    """The next hop's answer for these recipients, or all."""
    reply = "250 2.0.0 OK" if state is RecipientState.DELIVERED else "451 4.7.1 Greylisted"
    return Settlement(
        message.id,
        tuple(
            replace(
                message.recipients[index],
                state=state,
                next_attempt=next_attempt,
                attempts=message.recipients[index].attempts + 1,
                last_reply=reply,
                upstream="provider",
            )
            for index in indexes or range(len(message.recipients))
        ),
        (Event(message.id, message.received + MINUTE, "attempt", {"reply": reply}),),
    )


async def kinds(spool: Spool, message_id: str) -> list[str]:
    """What the trace says happened, in order."""
    return [event.kind for event in await spool.events(message_id)]
